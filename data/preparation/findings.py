"""Findings of an audit, written as a table, as pictures and as lists of names."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import draw_bounding_boxes

from cloudkit.data.pairs import Pair
from cloudkit.files import write_text
from cloudkit.imaging.images import read_unit, write_image
from cloudkit.imaging.panels import side_by_side
from cloudkit.progress import progress_bar

Kind = Literal["equal", "turned", "near", "overlapping"]  # turned: flipped or rotated
Role = Literal["clear", "cloudy"]
Box = tuple[float, float, float, float]  # left, top, right, bottom as fractions of the sides
# fmt: off
COLUMNS = (
    "kind", "test", "training", "images", "transform", "correlation", "right", "down", "overlap",
    "picture",
)
# fmt: on
_HEADER = "# Written by data/prepare.py audit: "
_MAX_HEIGHT = 512  # pixels, of each image in a picture


@dataclass(frozen=True)
class Finding:
    """A test image and a training image that are equal or show the same place."""

    kind: Kind
    """Kind of the finding."""
    test: Pair
    """Pair of the test image."""
    training: Pair
    """Pair of the training image."""
    images: tuple[tuple[Role, Role], ...]
    """Roles of the test and of the training images that match. A picture shows the first two."""
    transform: str = ""
    """Flip and rotation of the training image, such as "flipped, rotated by 90"."""
    correlation: float = 1.0
    """Correlation of the overlap, 1 for equal pixels."""
    right: int = 0
    """Pixels by which the place lies further right in the test image than in the training image."""
    down: int = 0
    """Pixels by which the place lies further down in the test image."""
    overlap: float = 1.0
    """Fraction of the smaller image that both show."""
    frames: tuple[Box, Box] | None = None
    """Box of the overlap in the test and in the training image; None for complete images."""

    def row(self) -> dict[str, str]:
        """Return the finding as a row of the table, without its picture."""
        images = []
        for role, other in self.images:
            images.append(role if role == other else f"{role} as {other}")
        return {
            "kind": self.kind,
            "test": self.test.name,
            "training": self.training.name,
            "images": ", ".join(images),
            "transform": self.transform,
            "correlation": f"{self.correlation:.3f}",
            "right": str(self.right),
            "down": str(self.down),
            "overlap": f"{self.overlap:.2f}",
        }


def write_findings(out: Path, findings: Sequence[Finding], pictures: int) -> int:
    """Write audit.csv and pictures/NNN_TEST_TRAINING.png, and remove those of an earlier audit.

    Args:
        out: folder to write into.
        findings: findings in the order of the table.
        pictures: number of pictures, findings of low correlation first; -1 means all.

    Returns:
        The number of pictures.
    """
    for name in _picture_names(out / "audit.csv"):
        (out / "pictures" / name).unlink(missing_ok=True)

    numbers = sorted(range(len(findings)), key=lambda number: findings[number].correlation)
    selected = {}
    for number in sorted(numbers if pictures < 0 else numbers[:pictures]):
        finding = findings[number]
        name = f"{number + 1:03d}_{finding.test.name}_{finding.training.name}.png"
        selected[number] = name.replace("/", "-")

    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for number, finding in enumerate(findings):
        writer.writerow(finding.row() | {"picture": selected.get(number, "")})
    write_text(out / "audit.csv", table.getvalue())  # first: it names the pictures to remove later

    for number, name in progress_bar(
        selected.items(), desc="writing pictures", show=bool(selected)
    ):
        write_image(out / "pictures" / name, draw(findings[number]))
    return len(selected)


def write_list(path: Path, title: str, names: Sequence[str]) -> bool:
    """Write a list for `cloudkit.data.splits.read_names`, and return whether there is one.

    Without names, the list of an earlier audit is removed.
    """
    if names:
        write_text(path, "\n".join((f"{_HEADER}{title}", *names, "")))
    elif path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        path.unlink()
    return bool(names)


def draw(finding: Finding) -> Tensor:
    """Draw both images side by side, (3, H, W'), with a frame around the overlap."""
    role, other_role = finding.images[0]
    test = read_unit(getattr(finding.test, role))
    training = read_unit(getattr(finding.training, other_role))
    height = min(_MAX_HEIGHT, test.shape[1])
    test, training = _resize(test, height), _resize(training, height)

    if finding.frames:
        test = _draw_frame(test, finding.frames[0])
        training = _draw_frame(training, finding.frames[1])
    relation = finding.transform or f"{finding.kind}, {finding.correlation:.2f}"
    return side_by_side(
        {
            f"test {finding.test.name}, {role}": test,
            f"training {finding.training.name}: {relation}": training,
        }
    )


def _resize(image: Tensor, height: int) -> Tensor:
    width = max(1, round(image.shape[2] * height / image.shape[1]))
    if (height, width) == image.shape[1:]:
        return image
    size = (height, width)
    return F.interpolate(
        image[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )[0]


def _draw_frame(image: Tensor, frame: Box) -> Tensor:
    height, width = image.shape[1:]
    box = torch.tensor([frame]) * torch.tensor([width, height, width, height])
    inner = box.round() - torch.tensor([0, 0, 1, 1])
    return draw_bounding_boxes(image, inner, colors="red", width=2)


def _picture_names(table: Path) -> Iterator[str]:
    """Yield the names of an earlier audit's pictures; none if the table is not from an audit."""
    if not table.is_file():
        return
    reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8", errors="replace")))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        return
    for row in reader:
        name = row["picture"] or ""
        if name.endswith(".png") and Path(name).name == name:
            yield name
