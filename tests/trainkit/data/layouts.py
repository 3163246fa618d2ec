"""Datasets of empty files in their layouts, and what is found of them."""

from collections.abc import Iterable
from pathlib import Path

from tests.helpers import touch
from trainkit.data.pairs import Pair
from trainkit.data.splits import Splits

LEVELS = ("thin", "moderate", "thick")


def pngs(names: Iterable[object], role: str = "") -> list[str]:
    return [f"{name}{role}.png" for name in names]


def rice(root: Path, number: int, names: Iterable[int]) -> Path:
    files = pngs(names)
    folder = root / f"RICE{number}"
    for part in ("cloud", "label", "mask") if number == 2 else ("cloud", "label"):
        touch(folder / part, files)
    return folder


def tcloud(root: Path) -> Path:
    for kind in ("cloud", "reference"):  # the numbers of both parts begin at 0
        touch(root / "T-CLOUD" / "train" / kind, pngs(range(20)))
        touch(root / "T-CLOUD" / "test" / kind, pngs(range(7)))
    return root / "T-CLOUD"


def satehaze(root: Path) -> Path:
    for level in LEVELS:
        restart = level == "moderate"  # there, valid and test begin anew at 1
        valid = range(1, 4) if restart else range(321, 324)
        parts = {"train": range(1, 13), "valid": valid, "test": range(1, 6)}
        for part, numbers in parts.items():
            folder = root / "Haze1k" / f"Haze1k_{level}" / "dataset" / part
            touch(folder / "input", pngs(numbers, "-inputs"))
            touch(folder / "target", pngs(numbers, "-targets"))
    return root / "Haze1k"


def names(pairs: list[Pair]) -> set[str]:
    return {pair.name for pair in pairs}


def numbered(count: int) -> set[str]:
    return {str(number) for number in range(count)}


def files(pairs: list[Pair]) -> set[Path]:
    return {path for pair in pairs for path in (pair.cloudy, pair.clear)}


def sizes(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.val), len(splits.test)


def assert_sound(splits: Splits) -> None:
    """Partners share a name, and no image is in two parts."""
    pairs = splits.train + splits.val + splits.test
    assert len(files(pairs)) == 2 * len(pairs)
    for pair in pairs:
        assert pair.cloudy.parent != pair.clear.parent
        assert pair.cloudy.stem.removesuffix("-inputs") == pair.name
        assert pair.clear.stem.removesuffix("-targets") == pair.name
