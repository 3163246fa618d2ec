"""What an audit finds, as a table, as pictures and as lists of names."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from cloudkit.files import write_text
from cloudkit.images import read_unit, write_image
from cloudkit.pairs import Pair
from cloudkit.panels import side_by_side

Kind = Literal["equal", "turned", "near", "overlapping"]
Role = Literal["clear", "cloudy"]
Box = tuple[float, float, float, float]  # top, bottom, left and right edge, as shares of the image's sides
COLUMNS = ("kind", "test", "training", "images", "turn", "correlation", "right", "down", "overlap", "picture")
_HEADER = "# Written by data/prepare.py audit: "
_FRAME = (1.0, 0.1, 0.1)
_HEIGHT = 512  # pixels at most, of each image in a picture


@dataclass(frozen=True)
class Finding:
    """A test image and a training image that are equal or show the same place."""

    kind: Kind
    test: Pair
    training: Pair
    images: tuple[tuple[Role, Role], ...]
    """Which of the test pair's images is like which of the training pair's; the first two are shown."""
    turn: str = ""
    """What was done to the training image, if it is turned or mirrored."""
    correlation: float = 1.0
    right: int = 0
    """Pixels of the test image by which the same place lies further right in it than in the training image."""
    down: int = 0
    """The same, further down."""
    overlap: float = 1.0
    """Share of the smaller image that both show."""
    frames: tuple[Box, Box] | None = None
    """What both show, in the test and in the training image; None for the whole."""

    def row(self) -> dict[str, str]:
        """The finding in words, but for its picture."""
        alike = ", ".join(one if one == other else f"{one} as {other}" for one, other in self.images)
        return {
            "kind": self.kind,
            "test": self.test.name,
            "training": self.training.name,
            "images": alike,
            "turn": self.turn,
            "correlation": f"{self.correlation:.3f}",
            "right": str(self.right),
            "down": str(self.down),
            "overlap": f"{self.overlap:.2f}",
        }


def write_findings(out: Path, findings: Sequence[Finding], pictures: int) -> int:
    """Write audit.csv and pictures/NNN_TEST_TRAINING.png; pictures of an earlier audit, as its table names them, are removed.

    Args:
        out: folder.
        findings: in the order of the table.
        pictures: how many to show, those of the lowest correlation first; -1: all.

    Returns:
        How many pictures were written.
    """
    for name in _pictures_of(out / "audit.csv"):
        (out / "pictures" / name).unlink(missing_ok=True)
    doubtful = sorted(range(len(findings)), key=lambda i: findings[i].correlation)
    shown = {i: _picture_name(i + 1, findings[i]) for i in sorted(doubtful[: pictures if pictures >= 0 else None])}
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(finding.row() | {"picture": shown.get(i, "")} for i, finding in enumerate(findings))
    write_text(out / "audit.csv", table.getvalue())  # before the pictures: it names what the next audit removes
    for i, name in tqdm(shown.items(), desc="writing pictures", unit="picture", disable=not shown):
        write_image(out / "pictures" / name, picture(findings[i]))
    return len(shown)


def write_list(path: Path, what: str, names: Sequence[str]) -> bool:
    """Write a list as `cloudkit.splits.read_names` takes it; without names remove the list of an earlier audit.

    Returns:
        Whether there is a list now.
    """
    if names:
        write_text(path, "".join(f"{line}\n" for line in (f"{_HEADER}{what}", *names)))
    elif path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        path.unlink()
    return bool(names)


def picture(finding: Finding) -> Tensor:
    """Both images side by side, (3, H, W'), with a frame around what both show."""
    (one, other), frames = finding.images[0], finding.frames or (None, None)
    test = _shown(read_unit(getattr(finding.test, one)), frames[0])
    training = _shown(read_unit(getattr(finding.training, other)), frames[1], test.shape[1])
    how = finding.turn or f"{finding.kind}, {finding.correlation:.2f}"
    return side_by_side({f"test {finding.test.name}, {one}": test, f"training {finding.training.name}: {how}": training})


def _shown(image: Tensor, frame: Box | None, height: int | None = None) -> Tensor:
    """An image at a height that suits a picture, with a thin frame."""
    height = height or min(_HEIGHT, image.shape[1])
    width = max(1, round(image.shape[2] * height / image.shape[1]))
    if (height, width) != image.shape[1:]:
        image = F.interpolate(image[None], size=(height, width), mode="bilinear", antialias=True, align_corners=False)[0]
    if frame:
        top, bottom, left, right = (round(edge * side) for edge, side in zip(frame, (height, height, width, width), strict=True))
        inside = image[:, top:bottom, left:right]
        colour = image.new_tensor(_FRAME)[:, None, None]
        for edge in (inside[:, :2], inside[:, -2:], inside[:, :, :2], inside[:, :, -2:]):
            edge.copy_(colour.expand_as(edge))
    return image


def _picture_name(number: int, finding: Finding) -> str:
    return f"{number:03d}_{finding.test.name}_{finding.training.name}.png".replace("/", "-")


def _pictures_of(table: Path) -> list[str]:
    """Names of the pictures that an earlier audit wrote; none where the table is not one of an audit."""
    if not table.is_file():
        return []
    reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8", errors="replace")))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        return []
    names = [row["picture"] or "" for row in reader]
    return [name for name in names if name.endswith(".png") and Path(name).name == name]
