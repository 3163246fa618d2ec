"""Exported networks in place of PyTorch's, and without PyTorch."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cloudkit.errors import CheckpointError
from cloudkit.memory import memory_error
from tests.helpers import noise
from tests.thiefcloud.inference.tiny import Tiny
from thiefcloud import load_onnx, restore_and_detect
from thiefcloud.network.statistics import image_statistics, scene_statistics

onnx = pytest.importorskip("onnx")
onnx_runtime = pytest.importorskip("thiefcloud.inference.onnx_runtime")


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
    expected = scene_statistics(images)
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
        ({"image": "x"}, r"outputs x tensor\(float\)"),
        ({"restored": "y"}, r" y tensor\(float\)"),
        ({"statistics": "gain"}, r" gain tensor\(float\)"),
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


def test_a_file_of_an_older_version_is_exported_anew(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    (statistics,) = (value for value in model.graph.input if value.name == "statistics")
    statistics.type.tensor_type.shape.dim[1].dim_value = 4  # the bands alone
    onnx.save(model, tmp_path / "older.onnx")
    with pytest.raises(CheckpointError, match=r"older\.onnx takes statistics .*export it anew"):
        load_onnx(tmp_path / "older.onnx")


def test_an_onnx_file_of_another_precision(tmp_path: Path) -> None:
    half, shape = onnx.TensorProto.FLOAT16, [1, 3, "h", "w"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["image"], ["restored"])],
        "half",
        [onnx.helper.make_tensor_value_info("image", half, shape)],
        [onnx.helper.make_tensor_value_info("restored", half, shape)],
    )
    opsets = [onnx.helper.make_opsetid("", 20)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "half.onnx"
    )
    with pytest.raises(
        CheckpointError, match=r"image tensor\(float16\).* expected .* tensor\(float\)"
    ):
        load_onnx(tmp_path / "half.onnx")


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
