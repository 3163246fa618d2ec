"""Helpers of the tests: tiny images on disk, scripts run as users run them."""

import contextlib
import itertools
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.imaging.images import write_image
from scpm import simulate_clouds

ROOT = Path(__file__).resolve().parents[1]
SIMULATE = ROOT / "SCPM" / "src" / "simulate.py"
EXTRACT = ROOT / "SCPM" / "src" / "extract_clouds.py"
TRAIN_CD = ROOT / "SCPM" / "src" / "train_cd.py"
TEST_CD = ROOT / "SCPM" / "src" / "test_cd.py"
TRAIN = ROOT / "ThiefCloud" / "train.py"
TEST = ROOT / "ThiefCloud" / "test.py"
PREDICT = ROOT / "ThiefCloud" / "predict.py"
APP = ROOT / "ThiefCloud" / "app.py"
FIT_OVERLAY = ROOT / "ThiefCloud" / "fit_overlay.py"
EXPORT = ROOT / "ThiefCloud" / "export.py"
ABLATION = ROOT / "experiments" / "ablation.py"


# Scripts


class Killed(BaseException):
    """Stands for a kill inside a script: no script catches it."""


def run_script(script: Path, *arguments: object) -> int:
    """Run a script in this process as if from the command line, and return its exit status."""
    before = sys.argv
    sys.argv = [str(script), *map(str, arguments)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


def break_at(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int) -> None:
    """Let a method raise `Killed` when it is called for the nth time, instead of doing its work."""

    def kill() -> None:
        raise Killed

    before_call(monkeypatch, owner, method, call, kill)


def before_call(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int, act: Callable[[], object]
) -> None:
    """Call a function when a method is called for the nth time, before the method."""
    original, calls = getattr(owner, method), itertools.count(1)

    def counted(*arguments: Any, **named: Any) -> Any:
        if next(calls) == call:
            act()
        return original(*arguments, **named)

    monkeypatch.setattr(owner, method, counted)


Moment = tuple[type, str, int]
"""Class, its method, and number of the call."""


@contextlib.contextmanager
def copies_at(moments: Mapping[str, Moment], run: Path, copies: Path) -> Iterator[None]:
    """Copy the folder of a run as it is at each moment, just before the call.

    A copy is what a kill at that moment leaves. So one run serves for any number of kills.

    Args:
        moments: moments by the name of the copy.
        run: folder that is copied.
        copies: folder for the copies.
    """
    missed = set(moments)
    with pytest.MonkeyPatch.context() as patch:
        for name, (owner, method, call) in moments.items():

            def copied(name: str = name) -> None:
                missed.remove(name)
                shutil.copytree(run, copies / name)

            before_call(patch, owner, method, call, copied)
        yield
    assert not missed


def assert_one_error(text: str, *parts: object) -> None:
    """Assert that stderr ends with its only error, which holds each part, and no traceback.

    An error about several images is a line, then an indented one for each of them.
    """
    assert "Traceback" not in text
    before, _, error = text.rpartition("error: ")
    assert not before or before.endswith(("\n", "\r"))
    assert "error: " not in before
    assert all(line.startswith("  ") for line in error.splitlines()[1:])
    for part in parts:
        assert str(part) in error


def squeezed(text: str) -> str:
    """Remove the frames and line breaks of help and error texts."""
    return " ".join(re.sub(r"[\u2500-\u257f|]", " ", text).split())


# Images on disk


def noise(seed: int = 0, *, bands: int = 3, height: int = 16, width: int = 16) -> Tensor:
    """Return an image (bands, H, W) of random values in [0, 1]."""
    return torch.rand(bands, height, width, generator=torch.Generator().manual_seed(seed))


def random_pixels(dtype: type, *shape: int) -> np.ndarray:
    """Return random pixels over the whole range of an integer type."""
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write_images(
    folder: Path, names: Iterable[str], *, bands: int = 3, height: int = 16, width: int = 16
) -> None:
    """Write a different image under each file name."""
    for index, name in enumerate(names):
        write_image(folder / name, noise(index, bands=bands, height=height, width=width))


def write_pairs(root: Path, count: int, *, height: int = 16, width: int = 16) -> Path:
    """Write cloudy/ and clear/ pairs named 0.png, 10.png, ...: each in a block of its own.

    Returns:
        The folder.
    """
    for index in range(count):
        clear = noise(index, height=height, width=width)
        write_image(root / "clear" / f"{10 * index}.png", clear)
        write_image(root / "cloudy" / f"{10 * index}.png", 0.5 * clear + 0.4)
    return root


def write_thickness_pairs(
    root: Path, count: int, *, folders: tuple[str, str] = ("cloudy", "thickness")
) -> Path:
    """Write cloudy images and thickness maps, and return their folder."""
    for index in range(count):
        write_image(root / folders[0] / f"{10 * index}.png", noise(index))
        write_image(root / folders[1] / f"{10 * index}.png", noise(index, bands=1))
    return root


def listed(folder: Path, *lines: str) -> Path:
    """Write a list of names, and return its file."""
    path = folder / "names.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def touch(folder: Path, names: Iterable[str]) -> None:
    """Make empty files, for code that reads names alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


# Checkpoints


def tensors(value: object, prefix: str = "") -> dict[str, Tensor]:
    """Return all tensors of nested dicts and lists, by their path."""
    if isinstance(value, Tensor):
        return {prefix: value}
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}

    found: dict[str, Tensor] = {}
    for key, part in value.items():
        found |= tensors(part, f"{prefix}/{key}")
    return found


def assert_same_state(one: Path, other: Path) -> None:
    """Assert that both checkpoints hold bit-equal tensors and equal progress.

    The tensors are weights, averaged weights and the optimizer's state.
    """
    # The tests wrote them, so they need none of the checks of `read_file`, which take long.
    first, second = (torch.load(path, weights_only=False) for path in (one, other))
    left, right = tensors(first), tensors(second)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
    if "training" in first:
        assert first["training"]["progress"] == second["training"]["progress"]


def land(seed: int = 0, height: int = 96, width: int = 128) -> Tensor:
    """Return land with texture, some of it under cloud, (3, H, W)."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, height // 4, width // 4, generator=random)
    gray = 0.2 + 0.3 * F.interpolate(coarse, scale_factor=4, mode="bicubic").clamp(0, 1)
    land = gray * torch.tensor([1.0, 0.9, 0.8]).view(3, 1, 1)
    return simulate_clouds(land, [seed]).cloudy[0]
