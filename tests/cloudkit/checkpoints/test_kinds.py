"""Files of other kinds are told by their content, whatever their name."""

import bz2
import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import scpm
from cloudkit.checkpoints import CheckpointError, read_file, save_released
from scpm import SCPM

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
# The start of an ONNX file that PyTorch exports: version 8, then the producer.
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.3.0:\xd8\x9c\x01"


def zipped(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return target.getvalue()


def tarred() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pt"))
    return target.getvalue()


def array() -> bytes:
    target = io.BytesIO()
    np.save(target, np.zeros(3))
    return target.getvalue()


FOREIGN = {
    "web page": (b"<!DOCTYPE html>\n<html><head>", "a web page, .* login"),
    "web page after a mark": (b"\xef\xbb\xbf\r\n <HTML lang='en'>", "a web page"),
    "web page after a comment": (b"<!-- saved from -->\n<html>", "a web page"),
    "xml": (b'<?xml version="1.0"?><Error/>', "a web page"),
    "pointer": (POINTER, "a pointer of Git LFS, .* `git lfs pull`"),
    "onnx": (ONNX, r"an ONNX file; .* as --onnx .* save the weights alone, torch\.save"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "a TensorFlow Lite file"),
    "gguf": (b"GGUF\3\0\0\0" + bytes(40), "a GGUF file"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(40), "an image"),
    "tiff": (b"II*\0\x08\0\0\0" + bytes(40), "an image"),
    "pdf": (b"%PDF-1.7\n", "a PDF document"),
    "gzip": (gzip.compress(b"weights"), "a packed file; unpack it"),
    "bz2": (bz2.compress(b"weights"), "a packed file; unpack it"),
    "tar": (tarred(), "a tar archive; unpack it"),
    "array": (array(), "a NumPy array"),
    "arrays": (zipped(a_dot_npy=array()), "an archive of NumPy arrays"),
    "zip": (zipped(best_dot_pt=b"x"), r"a zip archive, .* unpack it"),
    "keras 3": (zipped(model_dot_weights_dot_h5=b"x"), "a Keras file"),
    "pickle": (pickle.dumps({"a": 1}), "a Python pickle that PyTorch did not write"),
    "json": (b'{"error": "quota exceeded"}', "a text, not weights"),
    "text": ("Zu viele Zugriffe, später wieder".encode(), "a text, not weights"),
    "zeros": (bytes(5000), "nothing but zeros"),
    "empty": (b"", "it is empty"),
    "noise": (bytes(range(150, 256)) * 9, "no file of weights, or damaged"),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_another_kind_is_named_with_what_to_do(kind: str, suffix: str, tmp_path: Path) -> None:
    content, expected = FOREIGN[kind]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    message = rf"file{suffix} cannot be read as weights of ours or others: .*{expected}"
    with pytest.raises(CheckpointError, match=message):
        scpm.load(path)


def test_programs_of_pytorch_are_told_from_weights(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "traced.pt"))
    with pytest.raises(CheckpointError, match=r"a TorchScript program; save the weights alone"):
        read_file(tmp_path / "traced.pt")

    exported = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(exported, tmp_path / "exported.pt2")
    with pytest.raises(
        CheckpointError, match=r"a program of torch\.export; save the weights alone"
    ):
        read_file(tmp_path / "exported.pt2")


def test_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    model = SCPM()
    save_released(tmp_path / "a.safetensors", "scpm", model.config, model.state_dict(), {})
    (tmp_path / "a.safetensors").rename(tmp_path / "renamed.pth")
    assert scpm.load(tmp_path / "renamed.pth").config == model.config

    torch.save({"weight": torch.ones(2)}, tmp_path / "b.pt")
    (tmp_path / "b.pt").rename(tmp_path / "renamed.safetensors")
    assert read_file(tmp_path / "renamed.safetensors")["weight"].sum() == 2


def test_safetensors_of_others_are_bare_weights(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "foreign.safetensors", {"format": "pt"})
    assert read_file(tmp_path / "foreign.safetensors")["a"].tolist() == [1, 1]
