"""Pairs of all folders of a tree, with a note about what is left out or was decided."""

from collections.abc import Sequence
from pathlib import Path

from trainkit.data.pairs import Pair, require_unique
from trainkit.data.trees import UNSPLIT, PairFolders


def match_folders(folders: Sequence[PairFolders]) -> tuple[dict[str, list[Pair]], str]:
    """Match the images of all folders.

    If some belong to parts, pairs outside of the parts are left out.

    Returns:
        The pairs of each part, and a note that begins with ";" ("" if there is nothing to say).

    Raises:
        FileNotFoundError, DataError: as `PairFolders.match`, or two pairs of a part have one name.
    """
    has_parts = any(each.part != UNSPLIT for each in folders)
    used = [each for each in folders if (each.part != UNSPLIT) == has_parts]

    parts: dict[str, list[Pair]] = {}
    unpaired: list[Path] = []
    shared, example = 0, ""
    for each in used:
        matching = each.match()
        parts.setdefault(each.part, []).extend(matching.pairs)
        unpaired += matching.unpaired
        shared += matching.shared
        if each.cloudy == each.clear:
            example = f"{matching.pairs[0].cloudy.name} and {matching.pairs[0].clear.name}"
    for part, pairs in parts.items():
        require_unique(part, pairs)

    note = ""
    if shared:
        note += f"; {shared} of the pairs share a clear image with others"
    if any(each.by_letter for each in used):
        note += "; folders A, x, LQ are taken as cloudy, B, y, HQ as clear"
    if example:
        note += f"; pairs are taken by names such as {example}"
    ignored = [str(each.cloudy) for each in folders if each not in used]
    if ignored:
        note += f"; pairs outside of train, val and test are left out ({', '.join(ignored)})"
    return parts, note + left_out(unpaired)


def left_out(unpaired: Sequence[Path]) -> str:
    """Return a note about images without a partner ("" without any)."""
    if not unpaired:
        return ""
    named = [f"{path.parent.name}/{path.name}" for path in unpaired[:3]]
    if len(unpaired) > 3:
        named.append("...")
    return f"; {len(unpaired)} images without a partner are left out ({', '.join(named)})"
