"""ThiefCloud/export.py and predict.py --onnx, run as their user runs them."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from cloudkit.imaging.images import decode, write_image
from tests.helpers import EXPORT, PREDICT, assert_one_error, noise, run_script, squeezed
from thiefcloud import UNet

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained U-Net, which is exported fast."""
    torch.manual_seed(4)
    path, model = tmp_path_factory.mktemp("weights") / "unet.pt", UNet()
    save_checkpoint(path, "unet", model.config, {"model": model.state_dict()})
    return path


@pytest.fixture(scope="session")
def exported(weights: Path) -> Path:
    out = weights.parent / "deep" / "model.onnx"
    arguments = ["--checkpoint", weights, "--resolution", 30, "--licence", "CC0", "--out", out]
    assert run_script(EXPORT, *arguments) == 0
    return out


def test_the_file_says_what_it_was_made_of(exported: Path, weights: Path) -> None:
    about = onnxruntime.InferenceSession(exported).get_modelmeta().custom_metadata_map
    assert about["network"] == "unet"
    assert about["weights"] == "unet.pt"
    assert about["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert about["licence"] == "CC0"
    assert about["version"]
    assert json.loads(about["resolution"]) == 30


@pytest.mark.parametrize(
    ("name", "bands", "bits"),
    [("a.png", 3, 8), ("a.png", 4, 8), ("a.tif", 1, 16), ("a.tif", 3, 16)],
)
def test_an_image_is_restored_as_by_the_checkpoint(
    name: str, bands: int, bits: int, tmp_path: Path, exported: Path, weights: Path
) -> None:
    image = noise(3, bands=bands, height=35, width=46)
    image[:, :, 40:] = 0  # no data
    write_image(tmp_path / name, image, bits=bits)

    common = [tmp_path / name, "--device", "cpu", "--flips", "--out"]
    assert run_script(PREDICT, *common, tmp_path / "one", "--checkpoint", weights) == 0
    assert run_script(PREDICT, *common, tmp_path / "other", "--onnx", exported) == 0

    expected, found = decode(tmp_path / "one" / name)[0], decode(tmp_path / "other" / name)[0]
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    difference = np.abs(found.astype(float) - expected.astype(float)).max()
    assert difference <= max(1, 1e-4 * (2**bits - 1))
    assert expected[:, :40].std() > 1


def test_pytorch_s_networks_are_not_built(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*arguments: object, **named: object) -> None:
        raise AssertionError("a network is built")

    write_image(tmp_path / "a.png", noise())
    monkeypatch.setattr(thiefcloud.RemovalNetwork, "__init__", build)
    assert (
        run_script(PREDICT, tmp_path / "a.png", "--onnx", exported, "--out", tmp_path / "out") == 0
    )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--out", "model.pt"], "model.pt does not end in .onnx"),
        (["--out", "model"], "does not end in .onnx"),
        (["--tile", "500"], "expected a positive multiple of 8, for example 496"),
        (["--tile", "0"], "expected a positive multiple of 8, for example 8"),
        (["--resolution", "0"], "--resolution is 0"),
    ],
)
def test_wrong_options(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(EXPORT, *arguments) == 2
    assert part in squeezed(capsys.readouterr().err)


def test_weights_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.pt").write_text("text")
    for name, part in (("absent.pt", "there are no weights"), ("text.pt", "a text, not weights")):
        arguments = ["--checkpoint", tmp_path / name, "--out", tmp_path / "model.onnx"]
        assert run_script(EXPORT, *arguments) == 2
        assert_one_error(capsys.readouterr().err, name, part)
        assert not (tmp_path / "model.onnx").exists()


def test_a_missing_package_is_one_sentence(
    tmp_path: Path,
    weights: Path,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_image(tmp_path / "a.png", noise())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for script, *arguments in (
        (EXPORT, "--checkpoint", weights, "--out", tmp_path / "model.onnx"),
        (PREDICT, tmp_path / "a.png", "--onnx", exported, "--out", tmp_path / "out"),
    ):
        assert run_script(script, *arguments) == 2
        assert_one_error(capsys.readouterr().err, 'pip install -e ".[onnx]"')
    assert not (tmp_path / "model.onnx").exists()
    assert not (tmp_path / "out").exists()


def test_mistakes_with_exported_networks(
    tmp_path: Path, weights: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", noise())
    for arguments, part in (
        (["--onnx", tmp_path / "absent.onnx"], "there is no exported network"),
        (["--onnx", weights], "cannot be read as an ONNX file"),
        (["--checkpoint", exported], "give it to predict.py as --onnx"),
        (["--onnx", exported, "--thickness"], f"{exported} is a network without prior"),
    ):
        assert run_script(PREDICT, tmp_path / "a.png", *arguments, "--out", tmp_path / "out") == 2
        assert_one_error(capsys.readouterr().err, part)
        assert not (tmp_path / "out").exists()

    both = ["--onnx", exported, "--checkpoint", weights]
    assert run_script(PREDICT, tmp_path / "a.png", *both) == 2
    assert "are two networks; name one" in squeezed(capsys.readouterr().err)
