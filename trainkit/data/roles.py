"""Words that tell cloudy images from clear ones, and parts of a dataset from each other.

One table serves the names of folders and of files. To know another tree, add its words here.
"""

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

Role = Literal["cloudy", "clear"]

# A space stands for any of "-", "_", " " and nothing; a plural, and "images" or "img", may follow.
CLOUDY_FOLDERS = ("cloudy", "cloud", "haze", "hazy", "input", "clouded", "thin cloud", "foggy")
CLEAR_FOLDERS = (
    *("clear", "label", "reference", "gt", "target", "ground truth", "ref", "clean", "truth"),
    *("cloud free", "cloudless", "no cloud", "non cloud", "without cloud", "unclouded"),
    *("haze free", "no haze", "hazeless"),
)
_WORDS: dict[Role, tuple[str, ...]] = {"cloudy": CLOUDY_FOLDERS, "clear": CLEAR_FOLDERS}
# Names that mean something only side by side, of folders alone: those of pix2pix, of arrays, and
# of restoration in general.
_LETTERS: dict[str, Role] = {"a": "cloudy", "x": "cloudy", "lq": "cloudy"}
_LETTERS |= {"b": "clear", "y": "clear", "hq": "clear"}

PART_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_FILLING = ("images", "image", "imgs", "img", "data", "set", "s", "")  # of no meaning in a name
_ROLE = re.compile(
    r"[-_](inputs?|cloudy?|haz[ey]|targets?|clear|label|reference|gt)$", re.IGNORECASE
)
_SEPARATORS = "-_ ."


class Meaning(NamedTuple):
    """Meaning of the name of a folder."""

    part: str | None
    """Part of a dataset: train, val or test."""
    role: Role | None
    """Role of its images."""
    number: str
    """Number behind the role, such as 2 of "cloudy_2"."""


def meaning_of(name: str, *, letters: bool = False) -> Meaning:
    """Return the meaning of the name of a folder, such as "train", "Cloudy_Images" or "testA".

    Args:
        name: the name.
        letters: single letters have a meaning, too.
    """
    plain = re.sub(r"[\W_]", "", normal(name).casefold())
    role, number = _role_of(plain, letters=letters)
    if role:
        return Meaning(None, role, number)

    for part, words in PART_NAMES.items():
        for word in words:
            for rest in (plain.removeprefix(word), plain.removesuffix(word)):
                if rest == plain:
                    continue
                role, number = _role_of(rest, letters=letters)
                if role or rest in _FILLING:
                    return Meaning(part, role, number)
    return Meaning(None, None, "")


def _role_of(plain: str, *, letters: bool) -> tuple[Role | None, str]:
    if letters and plain in _LETTERS:
        return _LETTERS[plain], ""
    word = plain.rstrip("0123456789")
    number = plain[len(word) :]
    for role, words in _WORDS.items():
        for known in words:
            known = known.replace(" ", "")
            if word in (f"{known}{filling}" for filling in _FILLING):
                return role, number
            if word in ("image" + known, "img" + known):
                return role, number
    return None, ""


def _pattern() -> re.Pattern[str]:
    """Return a pattern for the words in the name of a file, with a group for each role."""
    every = []
    for role, words in _WORDS.items():
        every += [(word, role) for word in words]
    every.sort(key=lambda entry: -len(entry[0]))  # "cloud free" before "cloud"

    branches: list[str] = []
    for word, role in every:
        spelled = re.escape(word).replace(r"\ ", "[-_ ]?")
        branches.append(f"(?P<{role}_{len(branches)}>{spelled})")
    letter = r"[^\W\d_]"
    ending = "(?:[-_ ]?(?:images?|imgs?)|s)?"
    return re.compile(f"(?<!{letter})(?:{'|'.join(branches)}){ending}(?!{letter})", re.IGNORECASE)


_ANYWHERE = _pattern()


def role_in(stem: str) -> Role | None:
    """Return the role that the name of a file says, by its last such word."""
    role: Role | None = None
    for match in _ANYWHERE.finditer(normal(stem)):
        role = "cloudy" if str(match.lastgroup).startswith("cloudy") else "clear"
    return role


def normal(text: str) -> str:
    """Return text in the one Unicode form in which names are compared; macOS writes another."""
    return unicodedata.normalize("NFC", text)


def pair_name(stem: str) -> str:
    """Return the name of a pair from the stem of one of its files: "1-inputs" gives "1"."""
    return _ROLE.sub("", normal(stem))


def core_name(key: str) -> str:
    """Return a name, or a path, without any word of a role: "cloudy/s2_cloudy_7" gives "s2_7"."""
    parts = []
    for part in PurePosixPath(normal(key)).parts:
        part = _ANYWHERE.sub("", part)
        part = re.sub(f"([{_SEPARATORS}])[{_SEPARATORS}]+", r"\1", part).strip(_SEPARATORS)
        if part:
            parts.append(part)
    return "/".join(parts)
