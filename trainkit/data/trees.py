"""Trees of folders that hold pairs: the parts, the roles and the places that their names say."""

from dataclasses import dataclass, replace
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.imaging.finding import find_images
from cloudkit.imaging.formats import SUFFIXES
from cloudkit.imaging.images import read_image
from trainkit.data.pairs import DataError, Matching, match_pairs
from trainkit.data.roles import (
    CLEAR_FOLDERS,
    CLOUDY_FOLDERS,
    PART_NAMES,
    Role,
    meaning_of,
    role_in,
)

UNSPLIT = "whole"  # the only part of a dataset that has no parts
_DEPTH = 3  # folders of places above those of the roles
_LOOKED_AT = 3  # images whose shape is compared with that of two images side by side


@dataclass(frozen=True)
class PairFolders:
    """Two folders with the cloudy and the clear images of one place; they may be the same."""

    part: str
    """Part of the dataset, or `UNSPLIT`."""
    cloudy: Path
    clear: Path
    place: tuple[str, ...] = ()
    """Names of the folders above that say nothing else; they begin the names of the pairs."""
    number: str = ""
    """Number of these cloudy images among several of the place; it ends the names of the pairs."""
    by_letter: bool = False
    """The roles are only said by letters, such as "A" and "B"."""

    def match(self) -> Matching:
        """Match the images by name.

        Raises:
            FileNotFoundError, DataError: as `match_pairs`.
        """
        matching = match_pairs(self.cloudy, self.clear)
        ending = (self.number,) if self.number else ()
        pairs = []
        for pair in matching.pairs:
            parts = (*self.place, pair.name, *ending)
            name = "_".join(filter(None, parts)) or self.cloudy.resolve().name
            pairs.append(replace(pair, name=name))
        return matching._replace(pairs=pairs)


def subfolders(folder: Path) -> dict[str, Path]:
    """Return the visible folders directly below `folder` by their lower-case name.

    The result is empty if `folder` is not a folder.
    """
    return {path.name.lower(): path for path in _visible_folders(folder)}


def _visible_folders(folder: Path) -> list[Path]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.is_dir() and not path.name.startswith(".")]


def find_pair_folders(root: Path, *, places: bool = True) -> list[PairFolders]:
    """Find the folders of pairs in a tree.

    A name may say a part ("train"), a role ("cloud"; see `trainkit.data.roles`) or both
    ("test_cloud"), in any order from the top. Letters as in pix2pix ("A", "B") count only if there
    is nothing else, as do "LQ" and "HQ".

    Args:
        root: the top of the tree.
        places: other folders may stand between, and the names of files may say the roles of
            images in one folder.

    Raises:
        DataError: two folders claim one role.
    """
    if not places:
        return _in_order(_below(root, UNSPLIT, (), letters=False, depth=0))
    found = _below(root, UNSPLIT, (), letters=False, depth=_DEPTH)
    found = found or _below_named(root, UNSPLIT, (), _DEPTH)
    if not found:
        found = _below(root, UNSPLIT, (), letters=True, depth=_DEPTH)
        found = [replace(each, by_letter=True) for each in found]
    return _in_order(found)


def _in_order(folders: list[PairFolders]) -> list[PairFolders]:
    """Sort by part, and keep folders once that links reach in several ways."""
    distinct: dict[tuple[object, ...], PairFolders] = {}
    for each in sorted(folders, key=lambda each: len(each.cloudy.parts)):
        distinct.setdefault((each.part, each.cloudy.resolve(), each.clear.resolve()), each)

    parts = [*PART_NAMES, UNSPLIT]
    kept = [each for each in folders if each in distinct.values()]
    return sorted(kept, key=lambda each: parts.index(each.part))


def _below(
    folder: Path, part: str, place: tuple[str, ...], *, letters: bool, depth: int
) -> list[PairFolders]:
    sides: dict[str, dict[Role, list[tuple[str, Path]]]] = {}
    found: list[PairFolders] = []
    for child in _visible_folders(folder):
        meaning = meaning_of(child.name, letters=letters)
        inner = meaning.part or part
        if meaning.role:
            roles = sides.setdefault(inner, {"cloudy": [], "clear": []})
            roles[meaning.role].append((meaning.number, child))
        elif meaning.part:
            found += _below(child, inner, place, letters=letters, depth=depth)
        elif depth:
            deeper = (*place, child.name)
            found += _below(child, part, deeper, letters=letters, depth=depth - 1)

    for inner, roles in sides.items():
        if roles["cloudy"] and roles["clear"]:
            for both in _combined(folder, inner, place, roles):
                found += _by_part(both)
        elif depth:  # a word such as "input" above pairs means no role
            for _, child in roles["cloudy"] + roles["clear"]:
                deeper = (*place, child.name)
                found += _below(child, inner, deeper, letters=letters, depth=depth - 1)
    return found


def _combined(
    folder: Path,
    part: str,
    place: tuple[str, ...],
    roles: dict[Role, list[tuple[str, Path]]],
) -> list[PairFolders]:
    """Combine the folders of both roles, which may be numbered: "cloudy_1", "cloudy_2"."""
    cloudy, clear = roles["cloudy"], roles["clear"]
    if len(cloudy) == len(clear) == 1:
        return [PairFolders(part, cloudy[0][1], clear[0][1], place)]

    for found, words in ((cloudy, CLOUDY_FOLDERS), (clear, CLEAR_FOLDERS)):
        if len({number for number, _ in found}) < len(found):
            candidates = " and ".join(path.name for _, path in found)
            raise DataError(f"{folder} holds {candidates}; expected one of {', '.join(words)}.")

    if dict(cloudy).keys() == dict(clear).keys():
        partners = dict(clear)
    elif len(clear) == 1:
        partners = {number: clear[0][1] for number, _ in cloudy}
    else:
        listed = ", ".join(path.name for _, path in cloudy + clear)
        raise DataError(
            f"{folder} holds {listed}; expected one folder of clear images, or one for each "
            "folder of cloudy images, numbered alike."
        )
    return [PairFolders(part, path, partners[number], place, number) for number, path in cloudy]


def _by_part(folders: PairFolders) -> list[PairFolders]:
    """Divide two folders that hold the parts below the roles, as in "cloudy/train"."""
    inner: list[dict[str, Path]] = []
    for folder in (folders.cloudy, folders.clear):
        parts = {}
        for child in _visible_folders(folder):
            if part := meaning_of(child.name).part:
                parts[part] = child
        inner.append(parts)

    cloudy, clear = inner
    if folders.part != UNSPLIT or not cloudy or cloudy.keys() != clear.keys():
        return [folders]
    found = []
    for part in cloudy:
        found.append(replace(folders, part=part, cloudy=cloudy[part], clear=clear[part]))
    if _stems(folders.cloudy) and _stems(folders.clear):
        found.append(folders)  # images beside the parts
    return found


def _below_named(folder: Path, part: str, place: tuple[str, ...], depth: int) -> list[PairFolders]:
    """Find folders whose images have their roles in their names."""
    roles = {role_in(stem) for stem in _stems(folder)}
    if {"cloudy", "clear"} <= roles:
        return [PairFolders(part, folder, folder, place)]

    found = []
    for child in _visible_folders(folder):
        inner = meaning_of(child.name).part
        if inner:
            found += _below_named(child, inner, place, depth)
        elif depth:
            found += _below_named(child, part, (*place, child.name), depth - 1)
    return found


def _stems(folder: Path) -> list[str]:
    """Return the names of the images directly in a folder, without their suffixes."""
    stems = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            stems.append(path.stem)
    return stems


def side_by_side_hint(root: Path) -> str:
    """Return a sentence if the images of a tree look like two images side by side, else ""."""
    try:
        shapes = [read_image(path).shape for path in find_images(root)[:_LOOKED_AT]]
    except (UserError, OSError):
        return ""
    if not all(width == 2 * height for _, height, width in shapes):
        return ""
    return (
        " Its images are twice as wide as high, as two images side by side are (pix2pix): cut each "
        "into cloudy/NAME and clear/NAME first."
    )
