"""Problems of the images in a folder: damaged, odd, stray, duplicate or unpaired files."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloudkit.data.datasets import DATASETS, DatasetName
from cloudkit.data.pairs import pair_name
from cloudkit.imaging.finding import natural_key
from cloudkit.imaging.formats import SUFFIXES
from preparation.archives import is_junk
from preparation.inspection import TRAITS, InspectedImage, inspect_all


@dataclass(frozen=True)
class Problem:
    """One problem of one file."""

    kind: str
    """Kind in one word, such as "damaged" or "odd"."""
    path: Path
    """Path of the file."""
    text: str = ""
    """Description; empty if the kind says enough."""


@dataclass(frozen=True)
class ImageFolder:
    """Folder of a dataset with its inspected images."""

    path: Path
    """Path of the folder."""
    images: Sequence[InspectedImage]
    """Image files directly in the folder, in natural order."""
    strays: Sequence[Path] = ()
    """Other files and folders, without hidden ones and junk."""

    def by_pair(self) -> dict[str, list[InspectedImage]]:
        """Return the images by the name of their pair; a correct folder has one for each."""
        images: dict[str, list[InspectedImage]] = {}
        for image in self.images:
            images.setdefault(pair_name(image.path.stem), []).append(image)
        return images

    def usual(self, trait: str) -> str:
        """Return the value of a trait that most sound images have, or "" if there is none."""
        values = [image.traits[trait] for image in self.images if image.traits]
        for value, count in Counter(values).most_common(1):
            if 2 * count > len(values):
                return value
        return ""


def read_folder(path: Path) -> ImageFolder:
    """Inspect all images of a folder."""
    images, strays = [], []
    for entry in sorted(path.iterdir(), key=lambda entry: natural_key(entry.name)):
        if entry.name.startswith(".") or is_junk(PurePosixPath(entry.name)):
            continue
        if entry.is_file() and entry.suffix.lower() in SUFFIXES:
            images.append(entry)
        else:
            strays.append(entry)
    return ImageFolder(path, inspect_all(images), strays)


def folder_problems(folder: ImageFolder) -> list[Problem]:
    """Find stray and damaged files, images unlike the others, and images of one name."""
    usual = {trait: folder.usual(trait) for trait in TRAITS}
    problems = []
    for path in folder.strays:
        problems.append(Problem("stray", path, "is no image file"))

    for image in folder.images:
        unusual = []
        for trait, value in image.traits.items():
            if usual[trait] not in ("", value):
                unusual.append(f"{trait} {value}, most others here {usual[trait]}")
        if image.damage:
            problems.append(Problem("damaged", image.path, image.damage))
        elif unusual:
            problems.append(Problem("odd", image.path, f"has {'; '.join(unusual)}"))

    for name, (first, *others) in folder.by_pair().items():
        for other in others:
            text = f"has the name {name}, as {first.path.name} has"
            problems.append(Problem("duplicate", other.path, text))
    return problems


def pair_problems(one: ImageFolder, other: ImageFolder) -> list[Problem]:
    """Find images of two folders without a partner, and partners of different sizes."""
    problems = [*_unpaired(one, other), *_unpaired(other, one)]
    partners = other.by_pair()
    for name, images in one.by_pair().items():
        if name not in partners:
            continue
        size = images[0].traits.get("pixels")
        partner_size = partners[name][0].traits.get("pixels")
        if size and partner_size and size != partner_size:
            text = f"is {size} pixels, its partner in {other.path.name} is {partner_size}"
            problems.append(Problem("odd", images[0].path, text))
    return problems


def compare_with_complete(
    dataset: DatasetName, names: Iterable[str], pair_count: int
) -> tuple[set[str], str]:
    """Compare the images with those of the complete dataset.

    Args:
        dataset: name of the dataset.
        names: names of all images, with a partner or not.
        pair_count: number of pairs.

    Returns:
        Names that the dataset does not have, and a line about missing images or "". A dataset
        with an official split has no fixed names, so its pairs are only counted.
    """
    info = DATASETS[dataset]
    if info.test_count is None:
        note = f"{dataset}: {pair_count} pairs, the complete dataset has {info.pairs}"
        return set(), "" if pair_count == info.pairs else note

    names, numbers = set(names), range(info.pairs)
    missing = [number for number in numbers if str(number) not in names]
    foreign = names.difference(map(str, numbers))
    if not missing:
        return foreign, ""
    ranges = _ranges(missing)
    return foreign, f"{dataset}: {len(missing)} of {info.pairs} names are missing: {ranges}"


def _ranges(numbers: Iterable[int]) -> str:
    """Return rising numbers as ranges, such as "0-4, 7, 9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])

    texts = []
    for first, *others in runs:
        texts.append(f"{first}-{others[-1]}" if others else str(first))
    return ", ".join(texts)


def _unpaired(folder: ImageFolder, other: ImageFolder) -> list[Problem]:
    partners = other.by_pair()
    problems = []
    for name, images in folder.by_pair().items():
        if name not in partners:
            for image in images:
                text = f"has no partner in {other.path.name}"
                problems.append(Problem("unpaired", image.path, text))
    return problems
