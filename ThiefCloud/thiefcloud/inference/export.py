"""Export of networks to ONNX, and the check of what was written."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from cloudkit.errors import UserError
from cloudkit.files import digest, write_atomically
from scpm import FACTOR, SCPM
from thiefcloud.inference.onnx_network import import_extra
from thiefcloud.inference.released import RELEASED
from thiefcloud.network.base import RemovalNetwork
from thiefcloud.network.statistics import fill, has_data, image_statistics

OPSET = 20
TOLERANCE = 1e-4  # of the largest error
SIZES = ((8, 8), (40, 136), (128, 96), (256, 192))  # that are checked, height and width
BATCHES = (1, 2)  # that are checked at each size
_LARGEST = 2**13  # multiple of `FACTOR`, so images have at most 65,536 pixels a side
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class Exportable(nn.Module):
    """Network with plain tensors as inputs and outputs.

    Args:
        network: a network that removes cloud, or SCPM.
        tile: side of the only size that the file takes, in pixels. Statistics of the tile are then
            computed within, and restored is the only output of a network. Default: any size.
    """

    def __init__(self, network: RemovalNetwork | SCPM, tile: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.tile = tile
        self.bands = network.in_channels
        self.outputs = ["thickness"]
        self.inputs = ["image"]

        if isinstance(network, RemovalNetwork):
            self.outputs.insert(0, "restored")
            if tile or not network.sees_thickness:
                self.outputs.remove("thickness")
            if network.reads_statistics and not tile:
                self.inputs.append("statistics")

    def forward(self, image: Tensor, statistics: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the maps that `outputs` names.

        Args:
            image: (N, bands, H, W) in [0, 1], H and W multiples of 8.
            statistics: (N, 2 bands - 1, 9), if `inputs` names them.
        """
        if isinstance(self.network, SCPM):
            return (self.network(image).thickness,)
        if self.tile and self.network.reads_statistics:
            statistics = statistics_of(image)
        maps = self.network(image, supervision=False, statistics=statistics)
        return tuple(getattr(maps, name) for name in self.outputs)

    def example(self, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
        """Return random inputs: an image with even haze, a gradient and a corner without data."""
        random = torch.Generator().manual_seed(height * width)
        image = 0.2 + 0.5 * torch.rand(batch, self.bands, height, width, generator=random)
        image += torch.linspace(0, 0.25, width)
        image[..., : height // 4, : width // 4] = 0
        return (image, statistics_of(image)) if "statistics" in self.inputs else (image,)


def statistics_of(image: Tensor) -> Tensor:
    """Compute the statistics of whole images (N, bands, H, W)."""
    return image_statistics(fill(image, has_data(image)))


def export(
    network: RemovalNetwork | SCPM,
    path: Path,
    metadata: Mapping[str, str],
    *,
    tile: int | None = None,
) -> float:
    """Write a network as an ONNX file, after onnxruntime gave the same results.

    Args:
        network: the network, on the CPU. It is set to eval mode.
        path: the file. If a check fails, an old file stays as it was.
        metadata: texts for the file's metadata; see `describe`.
        tile: see `Exportable`.

    Returns:
        The largest error that was found.

    Raises:
        UserError: a package of the extra `onnx` is missing, or results differ.
        OSError: the file cannot be written.
    """
    onnx, *_ = map(import_extra, _PACKAGES)
    exportable = Exportable(network, tile).eval().to(memory_format=torch.contiguous_format)
    errors: list[float] = []

    def write(temporary: Path) -> None:
        model = _translate(exportable)
        for name, text in metadata.items():
            model.metadata_props.add(key=name, value=text)
        onnx.save(model, temporary)
        errors.append(largest_error(temporary, exportable))

    write_atomically(path, write)
    return errors[0]


def _translate(exportable: Exportable) -> Any:
    """Return the network as ONNX's ModelProto."""
    tile = exportable.tile
    # A file that was exported with one image would take no second one.
    inputs = exportable.example(1, tile, tile) if tile else exportable.example(2, 64, 96)
    shapes: tuple[dict[int, Any], ...] | None = None
    if not tile:
        batch = Dim("batch", min=1)
        rows, columns = Dim("h", min=1, max=_LARGEST), Dim("w", min=1, max=_LARGEST)
        shapes = ({0: batch, 2: FACTOR * rows, 3: FACTOR * columns}, {0: batch})[: len(inputs)]

    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            exportable,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=exportable.inputs,
            output_names=exportable.outputs,
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto

    # These name the lines of code that each operator came from, with paths of this machine.
    graph = model.graph
    for parts in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for part in parts:
            part.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the exporter says of its own steps."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def largest_error(path: Path, exportable: Exportable) -> float:
    """Compare the file with the network, at sizes and batches that the export did not see.

    Returns:
        The largest absolute difference of any output.

    Raises:
        UserError: it is not below `TOLERANCE`.
    """
    onnxruntime = import_extra("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    tile, largest = exportable.tile, 0.0

    for height, width in [(tile, tile)] if tile else SIZES:
        for batch in [1] if tile else BATCHES:
            inputs = exportable.example(batch, height, width)
            arrays = [tensor.numpy() for tensor in inputs]
            found = session.run(None, dict(zip(exportable.inputs, arrays, strict=True)))
            with torch.inference_mode():
                expected = exportable(*inputs)

            for one, other in zip(found, expected, strict=True):
                error = float((torch.from_numpy(one) - other).abs().max())
                if not error < TOLERANCE:  # NaN must fail, too
                    raise UserError(
                        f"onnxruntime differs by {error:g} from PyTorch on {batch} images of "
                        f"{height}x{width} pixels, expected less than {TOLERANCE:g}, so nothing is "
                        "written: try other versions of torch, onnxscript and onnxruntime."
                    )
                largest = max(largest, error)
    return largest


def describe(
    network: RemovalNetwork | SCPM,
    weights: Path,
    *,
    tile: int | None,
    resolution: float,
    licence: str | None,
) -> dict[str, str]:
    """Return the metadata of a file: what it was made of, and what Deepness asks for.

    Deepness is a plugin of QGIS for networks in ONNX files. It reads its values as JSON, and takes
    files with one input. That is from memory of its documentation: tests check the values alone,
    and nobody has run the plugin on these files yet.

    Args:
        network: the network.
        weights: its file.
        tile: see `Exportable`.
        resolution: centimetres on the ground that a pixel covers.
        licence: terms of use. Default: those of released weights.
    """
    restores = isinstance(network, RemovalNetwork)
    deepness = {
        "model_type": "Superresolution" if restores else "Regressor",
        "class_names": {"0": "restored" if restores else "cloud thickness"},
        "resolution": resolution,
        "tiles_size": tile or 512,
        "tiles_overlap": 25,  # percent: 64 pixels on each side of a tile of 512
    }
    of_released = [
        row.licence for row in RELEASED.values() if row.path.resolve() == weights.resolve()
    ]
    own = "not stated by the file of weights; the code has PolyForm Noncommercial 1.0.0."
    about = {
        "network": network.kind if isinstance(network, RemovalNetwork) else "scpm",
        "weights": weights.name,
        "weights_sha256": digest(weights),
        "version": version("thiefcloud"),
        "licence": licence or next(iter(of_released), own),
    }
    return about | {name: json.dumps(value) for name, value in deepness.items()}
