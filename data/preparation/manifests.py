"""Lists of SHA-256 checksums in the format of sha256sum."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cloudkit.files import write_text
from cloudkit.imaging.finding import natural_key
from trainkit.data.pairs import DataError

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


def write_checksums(path: Path, checksums: Mapping[str, str]) -> None:
    """Write {path relative to the dataset: checksum} in natural order, for `sha256sum -c`."""
    lines = []
    for name in sorted(checksums, key=natural_key):
        lines.append(f"{checksums[name]}  {name}\n")
    write_text(path, "".join(lines))


def read_checksums(path: Path) -> dict[str, str]:
    """Read {relative path: checksum} from a list of sha256sum or `write_checksums`.

    Empty lines and lines that begin with "#" are ignored.

    Raises:
        DataError: the file cannot be read or holds no checksum, or a line is invalid.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as a list of SHA-256 checksums ({error}); "
            "expected a list as verify writes it."
        ) from error

    checksums = {}
    for number, line in enumerate(text.split("\n"), 1):  # names may hold other line ends
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise DataError(
                f"line {number} of {path} is {line[:80]!r}, expected 64 hexadecimal digits, "
                "two spaces and a path."
            )
        checksum, name = match.groups()
        if name.startswith("/"):
            raise DataError(
                f"line {number} of {path} names {name}, expected a path relative to the dataset."
            )
        checksums[PurePosixPath(name).as_posix()] = checksum.lower()
    if not checksums:
        raise DataError(f"{path} holds no SHA-256 checksum; expected a list as verify writes it.")
    return checksums


def compare_checksums(
    found: Mapping[str, str], expected: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the "changed", "missing" and "extra" paths of `found`, each in natural order."""
    differences: dict[str, list[str]] = {"changed": [], "missing": [], "extra": []}
    for name in sorted(found.keys() | expected.keys(), key=natural_key):
        if name not in found:
            differences["missing"].append(name)
        elif name not in expected:
            differences["extra"].append(name)
        elif found[name] != expected[name]:
            differences["changed"].append(name)
    return differences
