"""Kinds of files that are given as weights, told by their content, never by their name."""

import re
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from cloudkit.checkpoints.archives import ERRORS, list_entries
from cloudkit.errors import CheckpointError

_HEAD = 4096  # bytes that tell most kinds
_REMEDY = "fetch it anew, or use best.pt or last.pt of a training run"
_EXPORT = "save the weights alone, torch.save(network.state_dict(), FILE), and name that file"


class Kind(Enum):
    """Kind of file that can be read."""

    ZIP = "a PyTorch checkpoint"
    PICKLE = "a PyTorch checkpoint of the older format"
    SAFETENSORS = "weights of ours or other safetensors"


class _Sign(NamedTuple):
    """Content by which a kind of file is known that cannot be read."""

    pattern: bytes
    """Regular expression for the file's first bytes."""
    kind: str
    remedy: str


_UNPACK = "unpack it, and name the file of weights in it"
_SIGNS = (
    _Sign(
        rb"version https://git-lfs",
        "a pointer of Git LFS, not the weights",
        "run `git lfs pull` in its repository",
    ),
    _Sign(
        rb"(?i)(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype|html|head|body|\?xml|svg|script|meta)",
        "a web page, not the weights",
        "fetch the file itself: the page may ask for a login or a confirmation",
    ),
    _Sign(rb"\x89HDF\r\n", "an HDF5 file, as Keras writes", _EXPORT),
    _Sign(rb"....TFL3", "a TensorFlow Lite file", _EXPORT),
    _Sign(rb"GGUF", "a GGUF file", _EXPORT),
    _Sign(rb"\x93NUMPY", "a NumPy array", _EXPORT),
    _Sign(
        rb"(\x89PNG|\xff\xd8\xff|II\*\0|MM\0\*|II\+\0|MM\0\+|GIF8|RIFF....WEBP|BM....\0\0)",
        "an image",
        "name a file of weights here, and images without an option",
    ),
    _Sign(rb"%PDF", "a PDF document", "name a file of weights"),
    _Sign(
        rb"(\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18)",
        "a packed file",
        _UNPACK,
    ),
    _Sign(rb"(?s:.{257})ustar", "a tar archive", _UNPACK),
    # Protocol buffers: field 1 is the version of ONNX, then come the producer and its version.
    _Sign(
        rb"\x08[\x01-\x20](\x12[\x01-\x40][ -~]|\x3a)",
        "an ONNX file",
        f"give it to predict.py as --onnx if export.py wrote it, else {_EXPORT}",
    ),
)
_OLD_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number that begins PyTorch's older format


def kind_of(path: Path) -> Kind:
    """Tell the kind of a file of weights by its content.

    Raises:
        CheckpointError: it is of a kind that cannot be read; the message names the kind.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if _OLD_MAGIC in head[:32]:
        return Kind.PICKLE
    if re.match(rb"[\x80][\x00-\x05]", head):
        raise foreign(path, "a Python pickle that PyTorch did not write", _EXPORT)
    if len(head) > 9 and head[8:9] == b"{" and not head[:8].isspace() and _has_nul(head[:8]):
        return Kind.SAFETENSORS

    for sign in _SIGNS:
        if re.match(sign.pattern, head, re.DOTALL):
            raise foreign(path, sign.kind, sign.remedy)
    raise foreign(path, _unknown(head), _REMEDY)


def _has_nul(length: bytes) -> bool:
    """Tell whether a length in 8 bytes, which is far below their range, may stand there."""
    return b"\0" in length


def _unknown(head: bytes) -> str:
    """Describe a file of no known kind."""
    if not head:
        return "empty, so damaged on its way"
    if not head.strip(b"\0"):
        return "nothing but zeros, so damaged on its way"
    if re.fullmatch(rb"[\t\n\r\x20-\x7e\x80-\xff]+", head) and _is_text(head):
        return "a text, not weights"
    return "no file of weights, or damaged from its start"


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 > 0  # a character that the end of the head cuts
    return True


def _kind_of_zip(path: Path) -> Kind:
    """Tell PyTorch's zip files from others. Damaged ones are PyTorch's, until they are read."""
    try:
        names = [entry.filename for entry in list_entries(path)]
    except ERRORS:
        return Kind.ZIP

    endings = {name.partition("/")[2] for name in names}
    if "constants.pkl" in endings or any(end.startswith("code/") for end in endings):
        raise foreign(path, "a TorchScript program", _EXPORT)
    if "archive_format" in endings or "serialized_exported_program.json" in {*names, *endings}:
        raise foreign(path, "a program of torch.export", _EXPORT)
    if "data.pkl" in endings:
        return Kind.ZIP
    if names and all(name.endswith(".npy") for name in names):
        raise foreign(path, "an archive of NumPy arrays", _EXPORT)
    if "model.weights.h5" in names:
        raise foreign(path, "a Keras file", _EXPORT)
    raise foreign(path, "a zip archive, but not one of PyTorch (it has no data.pkl)", _UNPACK)


def foreign(path: Path, kind: str, remedy: str) -> CheckpointError:
    """Return the error of a file that is no file of weights."""
    return CheckpointError(
        f"{path} cannot be read as weights of ours or others: it is {kind}; {remedy}."
    )


def damaged(path: Path, kind: Kind, reason: str) -> CheckpointError:
    """Return the error of a file of weights that is damaged, or was made to do harm."""
    return CheckpointError(
        f"{path} cannot be read as {kind.value} ({reason}); it may be damaged or hold other "
        f"things: {_REMEDY}."
    )
