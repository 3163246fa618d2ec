"""Export of networks, with onnxruntime as the judge."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

import thiefcloud
from cloudkit.errors import CheckpointError, UserError
from scpm import SCPM, DeformConv2d
from tests.helpers import noise
from tests.thiefcloud.inference.tiny import Even, Tiny
from thiefcloud import ThiefCloud, UNet, load_onnx
from thiefcloud.inference import export as exporting
from thiefcloud.inference.export import Exportable, describe, export
from thiefcloud.inference.released import RELEASED
from thiefcloud.network.statistics import fill, has_data, image_statistics

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_inputs_and_outputs_of_the_file(file: Path) -> None:
    session = onnxruntime.InferenceSession(file)
    shapes = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    assert list(shapes) == ["image", "statistics", "restored", "thickness"]
    for name, bands in (("image", 4), ("restored", 4), ("thickness", 1)):
        batch, channels, height, width = shapes[name]
        assert channels == bands
        assert all(isinstance(size, str) for size in (batch, height, width))
    assert shapes["statistics"][1:] == [7, 9]
    assert session.get_modelmeta().custom_metadata_map == {"name": "tiny"}
    assert onnx.load(file).opset_import[0].version == 20


def test_no_path_of_this_machine_is_in_the_file(file: Path) -> None:
    content = file.read_bytes()
    for folder in (Path(__file__).parents[3], Path(torch.__file__).parent):
        assert str(folder).encode() not in content


def test_a_file_that_differs_is_not_written(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("older")
    monkeypatch.setattr(exporting, "_translate", lambda exportable: onnx.load(file))
    with pytest.raises(UserError, match=r"differs by .* from PyTorch on 1 images of 8x8 pixels"):
        export(Tiny(4), path, {})  # of other random weights
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_text() == "older"


def test_a_value_that_is_not_a_number_equals_no_other(file: Path) -> None:
    network = Tiny(4).eval()
    torch.nn.init.constant_(network.from_cells.weight, float("nan"))
    with pytest.raises(UserError, match="differs by nan"):
        exporting.largest_error(file, Exportable(network))


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package(
    name: str, network: Tiny, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    message = rf'{name} is needed .* run pip install -e "\.\[onnx\]"\.$'
    with pytest.raises(UserError, match=message):
        export(network, tmp_path / "model.onnx", {})
    assert list(tmp_path.iterdir()) == []
    if name == "onnxruntime":
        with pytest.raises(UserError, match=message):
            load_onnx(file)


def test_a_tile_has_one_input_and_computes_its_own_statistics(tmp_path: Path) -> None:
    network, path = Even().eval(), tmp_path / "tile.onnx"
    assert export(network, path, {}, tile=512) < 1e-5
    session = onnxruntime.InferenceSession(path)
    assert [node.shape for node in session.get_inputs()] == [[1, 3, 512, 512]]
    assert [node.name for node in session.get_outputs()] == ["restored"]

    image = noise(7, height=512, width=512)[None]
    image[..., :100] = 0
    with torch.no_grad():
        statistics = image_statistics(fill(image, has_data(image)))
        expected = network(image, statistics=statistics).restored
    (found,) = session.run(None, {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)

    with pytest.raises(CheckpointError, match=r"only tiles of 512x512 pixels.*without --tile"):
        load_onnx(path)


@pytest.mark.parametrize(
    ("network", "tile", "inputs", "outputs"),
    [
        (ThiefCloud(SCPM(), residual=True, inversion=True), None, 2, ["restored", "thickness"]),
        (ThiefCloud(SCPM()), None, 1, ["restored", "thickness"]),
        (UNet(4), None, 1, ["restored"]),
        (UNet(residual=True, inversion=True), None, 2, ["restored"]),
        (SCPM(), None, 1, ["thickness"]),
        (ThiefCloud(SCPM(), residual=True, inversion=True), 64, 1, ["restored"]),
        (SCPM(), 64, 1, ["thickness"]),
    ],
)
def test_inputs_and_outputs_are_those_that_matter(
    network: UNet, tile: int | None, inputs: int, outputs: list[str]
) -> None:
    exportable = Exportable(network, tile).eval()
    assert exportable.inputs == ["image", "statistics"][:inputs]
    assert exportable.outputs == outputs
    maps = exportable(*exportable.example(2, 64, 64))
    bands = {"restored": network.in_channels, "thickness": 1}
    assert [tuple(one.shape) for one in maps] == [(2, bands[name], 64, 64) for name in outputs]


def test_metadata(tmp_path: Path) -> None:
    weights = tmp_path / "own.pt"
    weights.write_bytes(b"abc")
    found = describe(UNet(), weights, tile=256, resolution=30, licence=None)
    assert found["weights_sha256"].startswith("ba7816bf8f01cfea414140de5dae2223")
    assert found["network"] == "unet"
    assert "not stated" in found["licence"]
    for_plugin = {"model_type", "class_names", "resolution", "tiles_size", "tiles_overlap"}
    values = {name: json.loads(found[name]) for name in for_plugin}
    assert values == {
        "model_type": "Superresolution",
        "class_names": {"0": "restored"},
        "resolution": 30,
        "tiles_size": 256,
        "tiles_overlap": 25,
    }

    found = describe(SCPM(), RELEASED["rice1"].path, tile=None, resolution=30, licence=None)
    assert json.loads(found["model_type"]) == "Regressor"
    assert found["licence"] == RELEASED["rice1"].licence
    assert describe(SCPM(), weights, tile=None, resolution=1, licence="CC0")["licence"] == "CC0"


def test_deformable_convolutions_are_exported_by_their_plain_form() -> None:
    layer = DeformConv2d(12, 4).eval()
    features = torch.rand(2, 12, 16, 24)
    with torch.no_grad():
        program = torch.export.export(layer, (features,))
        code = program.graph_module.print_readable(print_output=False)
        assert "grid_sampler" in code
        assert "embedding_bag" not in code
        found, expected = program.module()(features), layer(features)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(not os.environ.get("THIEFCLOUD_SLOW"), reason="takes minutes")
@pytest.mark.parametrize("tile", [None, 128])
@pytest.mark.parametrize("kind", ["general", "scpm", "official", "four bands", "unet"])
def test_each_network_is_exported(kind: str, tile: int | None, tmp_path: Path) -> None:
    network = {
        "general": lambda: thiefcloud.load(),
        "scpm": lambda: thiefcloud.load().prior,
        "official": lambda: ThiefCloud(SCPM(sampling="official")),
        "four bands": lambda: ThiefCloud(SCPM(4), 4, residual=True, inversion=True),
        "unet": lambda: UNet(residual=True, inversion=True),
    }[kind]()
    assert export(network, tmp_path / "model.onnx", {}, tile=tile) < 1e-4  # type: ignore[arg-type]
