"""What is wrong with the images of a data set: damaged, odd, stray, of one name, without a partner, or not of the set."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudkit.datasets import LAYOUTS, NamedSet
from cloudkit.images import natural_key
from cloudkit.pairs import pair_name
from cloudkit.preparation.inspection import Inspected

TRAITS: dict[str, Callable[[Inspected], str]] = {  # what the images of a folder should have in common
    "pixels": lambda image: _size(image.size),
    "mode": lambda image: image.mode,
    "format": lambda image: image.format,
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    kind: str
    """In one word: "damaged", "odd", ..."""
    path: Path
    """The file."""
    what: str = ""
    """What is wrong with it; empty where the kind says all."""


@dataclass(frozen=True)
class ImageFolder:
    """One folder of a data set, read."""

    path: Path
    """The folder."""
    images: Sequence[Inspected]
    """Its image files."""
    stray: Sequence[Path] = ()
    """What else lies there."""

    def by_pair(self) -> dict[str, list[Inspected]]:
        """The images by the name of their pair; a sound folder has one of each."""
        named: dict[str, list[Inspected]] = {}
        for image in self.images:
            named.setdefault(pair_name(image.path.stem), []).append(image)
        return named

    def usual(self, trait: str) -> str:
        """What most of its sound images have for a name in `TRAITS`; empty where nothing holds for more than half of them."""
        values = [TRAITS[trait](image) for image in self.images if not image.damage]
        value, count = Counter(values).most_common(1)[0] if values else ("", 0)
        return value if 2 * count > len(values) else ""


def folder_problems(folder: ImageFolder) -> list[Problem]:
    """Damaged files, those unlike most of their folder, what is no image, and images that share a name."""
    usual = {trait: folder.usual(trait) for trait in TRAITS}
    problems = [Problem("stray", path, "is no image file") for path in folder.stray]
    for image in folder.images:
        if image.damage:
            problems.append(Problem("damaged", image.path, image.damage))
            continue
        traits = {trait: value(image) for trait, value in TRAITS.items()}
        unlike = [
            f"{trait} {traits[trait]}, most others here {most}"
            for trait, most in usual.items()
            if most not in ("", traits[trait])
        ]
        if unlike:
            problems.append(Problem("odd", image.path, f"has {'; '.join(unlike)}"))
    for name, images in folder.by_pair().items():
        first, *others = images
        problems += [Problem("duplicate", other.path, f"has the name {name}, as {first.path.name} has") for other in others]
    return problems


def pair_problems(cloudy: ImageFolder, clear: ImageFolder, masks: ImageFolder | None = None) -> list[Problem]:
    """Images without a partner, and partners of different sizes; with masks, pairs without one and the reverse."""
    left, right = cloudy.by_pair(), clear.by_pair()
    problems = [*_without_partner(cloudy, clear), *_without_partner(clear, cloudy)]
    problems += [_unequal(left[name][0], right[name][0]) for name in left if name in right and _differ(left[name], right[name])]
    if masks:
        named = masks.by_pair()
        problems += [*_without_partner(cloudy, masks), *_without_partner(masks, cloudy)]
        problems += [
            _unequal(named[name][0], left[name][0]) for name in named if name in left and _differ(named[name], left[name])
        ]
    return problems


def against_the_whole_set(dataset: NamedSet, found: Iterable[str], count: int) -> tuple[set[str], str]:
    """Compare with what the whole set holds.

    Args:
        dataset: the set.
        found: names of its images, with a partner or not; of sets that count their names from 0, they tell what is missing.
        count: how many pairs there are.

    Returns:
        Names that do not belong to the set, and a line that says what is missing ("" where nothing is).
    """
    layout, found = LAYOUTS[dataset], set(found)
    if layout.test_of is None:  # the names of its parts are not written down here
        return set(), "" if count == layout.pairs else f"{dataset}: {count} pairs, the whole set has {layout.pairs}"
    missing = [number for number in range(layout.pairs) if str(number) not in found]
    foreign = found - {str(number) for number in range(layout.pairs)}
    if not missing:
        return foreign, ""
    return foreign, f"{dataset}: {len(missing)} of the whole set's {layout.pairs} names are missing: {_ranges(missing)}"


def _size(size: tuple[int, int] | None) -> str:
    """A size (height, width) as people write it: width x height."""
    return f"{size[1]} x {size[0]}" if size else "?"


def _without_partner(folder: ImageFolder, other: ImageFolder) -> list[Problem]:
    there = other.by_pair()
    lonely = sorted(folder.by_pair().items(), key=lambda item: natural_key(item[0]))
    return [
        Problem("unpaired", image.path, f"has no partner in {other.path.name}")
        for name, images in lonely
        if name not in there
        for image in images
    ]


def _differ(images: Sequence[Inspected], others: Sequence[Inspected]) -> bool:
    sizes = {image.size for image in (images[0], others[0]) if image.size}
    return len(sizes) > 1


def _unequal(image: Inspected, other: Inspected) -> Problem:
    return Problem(
        "odd",
        image.path,
        f"is {_size(image.size)} pixels, its partner in {other.path.parent.name} is {_size(other.size)}",
    )


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers in short: "0-4, 7, 9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
