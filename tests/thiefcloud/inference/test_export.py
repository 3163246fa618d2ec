"""Export of networks, with onnxruntime as the judge."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import thiefcloud
from cloudkit.errors import CheckpointError, UserError
from cloudkit.memory import memory_error
from scpm import SCPM, DeformConv2d
from tests.helpers import noise
from tests.thiefcloud.inference.tiny import Even, Tiny
from thiefcloud import ThiefCloud, UNet, load_onnx, restore_and_detect
from thiefcloud.inference import export as exporting
from thiefcloud.inference.export import Exportable, describe, export
from thiefcloud.inference.released import RELEASED
from thiefcloud.network.statistics import fill, has_data, image_statistics

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from thiefcloud.inference import onnx_runtime  # noqa: E402


@pytest.fixture(scope="module")
def network() -> Tiny:
    torch.manual_seed(3)
    return Tiny(4).eval()


@pytest.fixture(scope="module")
def file(network: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert export(network, path, {"name": "tiny"}) < 1e-5
    return path


def test_inputs_and_outputs_of_the_file(file: Path) -> None:
    session = onnxruntime.InferenceSession(file)
    shapes = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    assert list(shapes) == ["image", "statistics", "restored", "thickness"]
    for name, bands in (("image", 4), ("restored", 4), ("thickness", 1)):
        batch, channels, height, width = shapes[name]
        assert channels == bands
        assert all(isinstance(size, str) for size in (batch, height, width))
    assert shapes["statistics"][1:] == [4, 9]
    assert session.get_modelmeta().custom_metadata_map == {"name": "tiny"}
    assert onnx.load(file).opset_import[0].version == 20


def test_no_path_of_this_machine_is_in_the_file(file: Path) -> None:
    content = file.read_bytes()
    for folder in (Path(__file__).parents[3], Path(torch.__file__).parent):
        assert str(folder).encode() not in content


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 8), (33, 17), (64, 40)])
def test_any_image_is_restored_as_by_the_network(
    network: Tiny, file: Path, size: tuple[int, int]
) -> None:
    image = noise(4, bands=4, height=size[0], width=size[1])
    image[:, : size[0] // 2, : size[1] // 3] = 0  # no data
    images = torch.stack((image, image.flip(-1), 0.5 * image))
    for given in (image, images):
        for flips in (False, True):
            expected = restore_and_detect(network, given, raw=True, flips=flips)
            found = restore_and_detect(load_onnx(file), given, raw=True, flips=flips)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_statistics_are_those_of_the_whole_image(network: Tiny, file: Path) -> None:
    """Beyond 512 pixels not all are sampled; a step within the file would be that of its export."""
    image = noise(4, bands=4, height=520, width=530)
    expected = restore_and_detect(network, image)
    torch.testing.assert_close(restore_and_detect(load_onnx(file), image), expected)


def test_borders_take_no_part(network: Tiny, file: Path) -> None:
    framed = torch.ones(4, 60, 70)
    framed[:, 9:50, 11:61] = 0.2 + 0.3 * noise(5, bands=4, height=41, width=50)
    expected = restore_and_detect(network, framed)
    found = restore_and_detect(load_onnx(file), framed)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(found[0][:, :5], framed[:, :5])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_dtype_of_the_image_is_kept(file: Path, dtype: torch.dtype) -> None:
    image = noise(bands=4).to(dtype)
    found = restore_and_detect(load_onnx(file), image)
    expected = restore_and_detect(load_onnx(file), image.float())
    assert found[0].dtype == found[1].dtype == dtype
    torch.testing.assert_close(found[0].float(), expected[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [(8, 8), (90, 37), (300, 310), (1100, 700)])
def test_statistics_without_pytorch_equal_those_with_it(size: tuple[int, int]) -> None:
    images = torch.stack((noise(1, height=size[0], width=size[1]), torch.zeros(3, *size)))
    images[0, :, : size[0] // 3] = 0
    expected = image_statistics(fill(images, has_data(images)))
    found = onnx_runtime.image_statistics(images.numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-6)


def test_the_file_needs_no_pytorch(network: Tiny, file: Path, tmp_path: Path) -> None:
    """The module is copied, as its docstring says, where this package is not installed."""
    shutil.copy(onnx_runtime.__file__, tmp_path / "onnx_runtime.py")
    images = noise(6, bands=4, height=48, width=56)[None]
    np.save(tmp_path / "images.npy", images.numpy())
    code = (
        "import sys; sys.modules['torch'] = sys.modules['thiefcloud'] = None\n"
        "import numpy as np, onnxruntime, onnx_runtime\n"
        f"session = onnxruntime.InferenceSession({str(file)!r})\n"
        "maps = onnx_runtime.restore(session, np.load('images.npy'))\n"
        "np.savez('maps.npz', **maps)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)

    with torch.no_grad():
        expected = network(images, statistics=image_statistics(images))
    found = np.load(tmp_path / "maps.npz")
    np.testing.assert_allclose(found["restored"], expected.restored, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["thickness"], expected.thickness, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 60, 64), "60x64 pixels, expected positive multiples of 8"),
        ((1, 4, 64, 4), "64x4 pixels"),
        ((1, 4, 0, 8), "0x8 pixels"),
        ((0, 4, 8, 8), "expected positive"),
        ((4, 64, 64), r"expected \(N, 4, H, W\)"),
        ((1, 3, 64, 64), r"expected \(N, 4, H, W\)"),
    ],
)
def test_other_shapes_are_refused(file: Path, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_onnx(file)(torch.zeros(shape))


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
    torch.nn.init.constant_(network.thickness.weight, float("nan"))
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


def test_files_that_are_no_exported_networks(tmp_path: Path, file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.onnx; .*export\.py"):
        load_onnx(tmp_path / "absent.onnx")

    content = file.read_bytes()
    path = tmp_path / "damaged.onnx"
    for damaged in (b"", b"text", content[:1000], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged\.onnx .*export"):
            load_onnx(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "x"}, "the inputs x, statistics"),
        ({"restored": "y"}, "the outputs y, thickness"),
        ({"statistics": "gain"}, "the inputs image, gain"),
    ],
)
def test_an_onnx_file_of_others(
    change: dict[str, str], message: str, file: Path, tmp_path: Path
) -> None:
    model = onnx.load(file)
    for value in (*model.graph.input, *model.graph.output):
        value.name = change.get(value.name, value.name)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [change.get(name, name) for name in names]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match=message):
        load_onnx(tmp_path / "other.onnx")


def test_memory_that_is_refused_is_known_as_such(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(Exception):
        pass

    def refuse(*arguments: object) -> None:
        raise Refused("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory")

    monkeypatch.setattr(onnx_runtime, "restore", refuse)
    with pytest.raises(RuntimeError, match="Failed to allocate memory") as caught:
        load_onnx(file)(torch.zeros(1, 4, 8, 8))
    assert memory_error(caught.value)


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
