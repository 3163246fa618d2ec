"""Pairs of a cloudy and a clear image, matched by name."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cloudkit.errors import UserError
from cloudkit.imaging.finding import distinct_stems, find_images, natural_key
from trainkit.data.roles import Role, core_name, normal, pair_name, role_in


class DataError(UserError):
    """Images that cannot be found or matched. The message names their folder."""


@dataclass(frozen=True)
class Pair:
    """Two files that show the same place."""

    name: str
    """Common part of both file names, without the suffix."""
    cloudy: Path
    """The image with clouds."""
    clear: Path
    """The image without clouds; for the training of SCPM, the thickness map."""
    peak: float | None = None
    """Stored value that means 1 in the images, not in a thickness map; None: that of the format."""


class Matching(NamedTuple):
    """Two sets of files, matched by name."""

    pairs: list[Pair]
    """The pairs in natural order of their names."""
    unpaired: list[Path]
    """Images without a partner."""
    shared: int = 0
    """Number of pairs that share their clear image with others."""


Keys = Mapping[Path, str]  # {file: path below its folder without suffix, "/" between the parts}

# Forms of a key in which partners are equal. The first that fits decides: names that are equal as
# they stand are never taken apart.
_FORMS: tuple[Callable[[str], str], ...] = (
    lambda key: key,
    pair_name,
    core_name,
    lambda key: _plain_name(key),
)
_NUMBER = re.compile(r"[-_]\d+$")  # of one of several cloudy images of a place


def match_pairs(cloudy: Path, clear: Path) -> Matching:
    """Match the images of two folders by name, subfolders included.

    Names may differ in a role, such as "-inputs" and "-targets", in capitals, in leading zeros, in
    the Unicode form of accents, and in subfolders. Several cloudy images, numbered "7_0", "7_1",
    may share the clear image "7". If both folders are one, the roles in the names divide its
    images.

    Raises:
        FileNotFoundError: a folder does not exist or holds no image.
        DataError: the folders have no name in common, or names are ambiguous.
    """
    one_folder = cloudy == clear
    left = image_keys(cloudy, role="cloudy" if one_folder else None)
    right = image_keys(clear, role="clear" if one_folder else None)
    for folder, keys in ((cloudy, left), (clear, right)):
        _require_distinct(folder, keys)

    matching = match_keys(left, right)
    if not matching.pairs:
        examples = " and ".join(next(iter(keys)).name for keys in (left, right))
        raise DataError(
            f"no image in {cloudy} has the name of one in {clear} (for example {examples}); "
            "pairs are matched by name, so name both files of a pair alike."
        )
    require_unique(cloudy, matching.pairs)
    return matching


def image_keys(folder: Path, *, role: Role | None = None) -> dict[Path, str]:
    """Return the images of a folder, subfolders included, with their keys.

    Args:
        folder: the folder.
        role: use only the images whose names have a word of this role.

    Raises:
        FileNotFoundError: the folder does not exist or holds no image.
    """
    keys = {}
    for path in find_images(folder):
        if role is None or role_in(path.stem) == role:
            keys[path] = normal(path.relative_to(folder).with_suffix("").as_posix())
    return keys


def match_keys(cloudy: Keys, clear: Keys) -> Matching:
    """Match two sets of files by their keys, as `match_pairs` describes."""
    left, right = dict(cloudy), dict(clear)
    found: list[tuple[str, Path, Path]] = []
    for form in (*_FORMS, _file_form(cloudy, clear)):
        partners = _by_form(right, form)
        for value, files in _by_form(left, form).items():
            others = partners.get(value, [])
            if len(files) == len(others) == 1:
                name = _name(cloudy[files[0]], clear[others[0]])
                found.append((name, files[0], others[0]))
                del left[files[0]], right[others[0]]

    # Several cloudy images of one clear one.
    owners = _by_form(clear, _FORMS[-1])
    shared = Counter(other for _, _, other in found)
    for path, key in list(left.items()):
        value = _FORMS[-1](key)
        owner = owners.get(_NUMBER.sub("", value), [])
        if _NUMBER.search(value) and len(owner) == 1:
            found.append((core_name(key), path, owner[0]))
            shared[owner[0]] += 1
            right.pop(owner[0], None)
            del left[path]

    several = sum(count for count in shared.values() if count > 1)
    return Matching(_named(found, cloudy), [*left, *right], several)


def require_unique(title: object, pairs: Iterable[Pair]) -> None:
    """Raise DataError if two pairs have one name; some file systems ignore case."""
    taken: dict[str, Pair] = {}
    for pair in pairs:
        other = taken.setdefault(pair.name.casefold(), pair)
        if other is not pair:
            raise DataError(
                f"{title} holds two images named {pair.name}: {other.cloudy} and {pair.cloudy}; "
                "rename one."
            )


def named_images(folder: Path) -> dict[str, Path]:
    """Find images and name them by their path below the folder: "town/a1.png" is "town_a1".

    Neighbours that differ in their suffix alone keep it in their names, as in `distinct_stems`.

    Raises:
        DataError: there is no image, or two have one name.
    """
    try:
        paths = find_images(folder)
    except FileNotFoundError as error:
        raise DataError(str(error)) from error

    images: dict[str, Path] = {}
    taken: dict[str, Path] = {}
    for path, stem in zip(paths, distinct_stems(paths), strict=True):
        name = normal("_".join((*path.relative_to(folder).parts[:-1], stem)))
        other = taken.setdefault(name.lower(), path)  # some file systems ignore case
        if other is not path:
            raise DataError(
                f"{folder} holds two images named {name}: {other} and {path}; rename one."
            )
        images[name] = path
    return images


def files_for(names: Sequence[str], folder: Path) -> dict[str, Path]:
    """Return the image of a folder for each name of a pair, matched as `match_pairs` does.

    Names without an image are left out.

    Raises:
        FileNotFoundError: the folder does not exist or holds no image.
        DataError: two images of the folder have one name.
    """
    keys = image_keys(folder)
    _require_distinct(folder, keys)
    joined = {path: key.replace("/", "_") for path, key in keys.items()}
    wanted = {Path(name): name for name in names}

    found = {}
    for pair in match_keys(wanted, joined).pairs:
        found[wanted[pair.cloudy]] = pair.clear
    return found


def _require_distinct(folder: Path, keys: Keys) -> None:
    for key, (first, *others) in _by_form(keys, _FORMS[0]).items():
        if others:
            raise DataError(
                f"{folder} holds two images named {key}: {first.name} and {others[0].name}; "
                "keep one."
            )


def _plain_name(key: str) -> str:
    """Return a name without roles, capitals and leading zeros."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", core_name(key).casefold())


def _file_form(cloudy: Keys, clear: Keys) -> Callable[[str], str]:
    """Return the form without subfolders, if one side has none; else the last of the others."""
    flat = [not any("/" in key for key in keys.values()) for keys in (cloudy, clear)]
    return (lambda key: _FORMS[-1](PurePosixPath(key).name)) if any(flat) else _FORMS[-1]


def _by_form(keys: Keys, form: Callable[[str], str]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path, key in keys.items():
        files.setdefault(form(key), []).append(path)
    return files


def _name(cloudy: str, clear: str) -> str:
    """Return the name of a pair from the keys of its files."""
    if pair_name(cloudy) == pair_name(clear):
        return pair_name(cloudy)
    return core_name(cloudy)


def _named(found: Sequence[tuple[str, Path, Path]], keys: Keys) -> list[Pair]:
    """Make pairs; where two would have one name, each gets the whole key of its cloudy image."""
    counts = Counter(name for name, _, _ in found)
    pairs = []
    for name, cloudy, clear in found:
        unique = name if counts[name] == 1 else keys[cloudy]
        pairs.append(Pair(unique.replace("/", "_"), cloudy, clear))
    return sorted(pairs, key=lambda pair: natural_key(pair.name))
