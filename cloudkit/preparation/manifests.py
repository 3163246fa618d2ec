"""Lists of SHA-256 sums in the format of sha256sum, written, read and compared."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cloudkit.files import write_text
from cloudkit.images import natural_key
from cloudkit.pairs import DataError

_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}


def write_sums(path: Path, sums: Mapping[str, str]) -> None:
    """Write {path relative to the data set, with "/": SHA-256} in natural order; `sha256sum -c` takes it from there."""
    write_text(path, "".join(_line(name, sums[name]) for name in sorted(sums, key=natural_key)))


def read_sums(path: Path) -> dict[str, str]:
    """Read {relative path: SHA-256} from what sha256sum or `write_sums` wrote; empty lines and those after "#" are passed over.

    Raises:
        DataError: the file cannot be read, or a line is no sum and path; the message names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of SHA-256 sums ({error}); expected what verify writes.") from error
    sums: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise DataError(f"line {number} of {path} is {line[:80]!r}, expected 64 hexadecimal digits, two blanks and a path.")
        name = re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), match[3]) if match[1] else match[3]
        if name.startswith("/"):
            raise DataError(f"line {number} of {path} names {name}, expected paths relative to the data set's folder.")
        sums[PurePosixPath(name).as_posix()] = match[2].lower()
    if not sums:
        raise DataError(f"{path} holds no SHA-256 sum; expected what verify writes.")
    return sums


def compare_sums(found: Mapping[str, str], expected: Mapping[str, str]) -> dict[str, list[str]]:
    """The paths that are "changed", "missing" (expected, not found) and "extra" (found, not expected), in natural order."""
    return {
        "changed": sorted((name for name in found.keys() & expected.keys() if found[name] != expected[name]), key=natural_key),
        "missing": sorted(expected.keys() - found.keys(), key=natural_key),
        "extra": sorted(found.keys() - expected.keys(), key=natural_key),
    }


def _line(name: str, digest: str) -> str:
    escaped = "".join(_ESCAPES.get(c, c) for c in name)
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  {escaped}\n"
