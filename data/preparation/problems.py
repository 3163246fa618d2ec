"""Problems of the images in a folder: damaged, odd, stray, duplicate or unpaired files."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloudkit.imaging.finding import natural_key
from cloudkit.imaging.formats import SUFFIXES
from preparation.archives import is_junk
from preparation.inspection import TRAITS, InspectedImage, inspect_all
from trainkit.data.datasets import DATASETS, DatasetName
from trainkit.data.pairs import match_keys
from trainkit.data.roles import Role, normal, pair_name, role_in


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
    """Image files in the folder and its subfolders, in natural order."""
    strays: Sequence[Path] = ()
    """Other files and folders, without hidden ones and junk."""

    @property
    def keys(self) -> dict[Path, str]:
        """Keys of the images, as `trainkit.data.pairs.match_keys` takes them."""
        keys = {}
        for image in self.images:
            relative = image.path.relative_to(self.path).with_suffix("")
            keys[image.path] = normal(relative.as_posix())
        return keys

    @property
    def duplicates(self) -> dict[Path, Path]:
        """Images that have the key of an earlier one, with that one."""
        first_of: dict[str, Path] = {}
        found = {}
        for path, key in self.keys.items():
            first = first_of.setdefault(key, path)
            if first != path:
                found[path] = first
        return found

    @property
    def distinct(self) -> dict[Path, str]:
        """Keys without those of duplicates."""
        duplicates = self.duplicates
        return {path: key for path, key in self.keys.items() if path not in duplicates}

    def by_pair(self) -> dict[str, list[InspectedImage]]:
        """Return the images by the name of their pair; a correct folder has one for each."""
        images: dict[str, list[InspectedImage]] = {}
        for image, key in zip(self.images, self.keys.values(), strict=True):
            images.setdefault(pair_name(key), []).append(image)
        return images

    def usual(self, trait: str) -> str:
        """Return the value of a trait that most sound images have, or "" if there is none."""
        values = [image.traits[trait] for image in self.images if image.traits]
        for value, count in Counter(values).most_common(1):
            if 2 * count > len(values):
                return value
        return ""


def read_folder(path: Path, role: Role | None = None) -> ImageFolder:
    """Inspect all images of a folder and its subfolders, or those with names of one role."""
    images, strays = _entries(path, set())
    if role is not None:
        images = [image for image in images if role_in(image.stem) == role]
    return ImageFolder(path, inspect_all(images), strays if role != "clear" else [])


def _entries(folder: Path, searched: set[Path]) -> tuple[list[Path], list[Path]]:
    """Return the images of a folder and its subfolders, and what is none.

    A folder that links reach in several ways is searched once.
    """
    searched.add(folder.resolve())
    images: list[Path] = []
    strays: list[Path] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: natural_key(entry.name)):
        if entry.name.startswith(".") or is_junk(PurePosixPath(entry.name)):
            continue
        if entry.is_file() and entry.suffix.lower() in SUFFIXES:
            images.append(entry)
            continue

        is_folder = entry.is_dir()
        if is_folder and entry.resolve() in searched:
            continue
        inner, inner_strays = _entries(entry, searched) if is_folder else ([], [])
        images += inner
        strays += inner_strays if inner else [entry]
    return images, strays


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

    for path, first in folder.duplicates.items():
        text = f"has the name {folder.keys[path]}, as {first.name} has"
        problems.append(Problem("duplicate", path, text))
    return problems


def pair_problems(one: ImageFolder, other: ImageFolder) -> list[Problem]:
    """Find images of two folders without a partner, and partners of different sizes."""
    matching = match_keys(one.distinct, other.distinct)
    problems = []
    for path in matching.unpaired:
        partner = other if path in one.keys else one
        problems.append(Problem("unpaired", path, f"has no partner in {partner.path.name}"))

    sizes = {}
    for image in (*one.images, *other.images):
        sizes[image.path] = image.traits.get("pixels")
    for pair in matching.pairs:
        size, partner_size = sizes[pair.cloudy], sizes[pair.clear]
        if size and partner_size and size != partner_size:
            text = f"is {size} pixels, its partner in {other.path.name} is {partner_size}"
            problems.append(Problem("odd", pair.cloudy, text))
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
