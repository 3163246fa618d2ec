"""Export a network to ONNX, for onnxruntime, QGIS and other programs that do not know PyTorch.

    python ThiefCloud/export.py --checkpoint general --out model.onnx
    python ThiefCloud/export.py --checkpoint runs/rice1/best.pt --out rice1.onnx
    python ThiefCloud/export.py --checkpoint checkpoints/scpm.safetensors --out thickness.onnx
    python ThiefCloud/export.py --tile 512 --resolution 1000 --out qgis.onnx

The file takes any number of images of any size whose sides are multiples of 8:

* input `image`: (N, bands, H, W), float32, in [0, 1];
* input `statistics`: (N, 2 bands - 1, 9), float32, of the whole image, for networks with an
  inversion or an overlay;
* output `restored`: (N, bands, H, W), not clamped, but not of SCPM alone;
* output `thickness`: (N, 1, H, W), not clamped, of networks with a prior, and of SCPM.

thiefcloud/inference/onnx_runtime.py computes the statistics without PyTorch, and shows how to use
the file. `python ThiefCloud/predict.py INPUT --onnx model.onnx` does all of it, for any image.

Before anything is written, onnxruntime computes four sizes and two batch sizes. The results must
equal those of PyTorch to 1e-4. The export takes one to two minutes; it needs
pip install -e ".[onnx]".

QGIS: the plugin Deepness takes files with one input. With --tile a file computes the statistics of
each tile itself, so tiles of large scenes may differ in brightness. The metadata names the type
(Superresolution; Regressor for SCPM), tiles, overlap, resolution and classes as the plugin wants
them. Tests check the file and these values; the file was not tried in QGIS.
"""

from pathlib import Path

import scpm
import thiefcloud
from cloudkit.errors import CheckpointError
from cloudkit.script.command_line import parser, run_script
from scpm import SCPM
from thiefcloud import RemovalNetwork
from thiefcloud.inference.export import describe, export
from thiefcloud.inference.export_options import ExportOptions
from thiefcloud.inference.released import path_of


def main(options: ExportOptions) -> None:
    """Load the network, and write it with its description."""
    weights = path_of(options.checkpoint)
    network = load_either(weights)

    metadata = describe(
        network,
        weights,
        tile=options.tile,
        resolution=options.resolution,
        licence=options.licence,
    )
    error = export(network, options.out, metadata, tile=options.tile)

    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {size:.1f} MB; onnxruntime differs from PyTorch by {error:.1e} at most")


def load_either(weights: Path) -> RemovalNetwork | SCPM:
    """Load a network that removes cloud, or SCPM.

    Raises:
        FileNotFoundError, CheckpointError: the file holds neither.
    """
    try:
        return thiefcloud.load(weights)
    except CheckpointError as refused:
        try:
            return scpm.load(weights)
        except CheckpointError:
            raise refused from None


if __name__ == "__main__":
    run_script(main, parser(ExportOptions, __doc__))
