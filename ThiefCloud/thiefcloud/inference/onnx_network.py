"""Exported networks in place of PyTorch's: `restore` takes them as it takes the others."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cloudkit.errors import CheckpointError, UserError
from thiefcloud.network.base import Restoration, Restorer
from thiefcloud.network.statistics import STATISTICS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_INPUTS = {"image", "statistics"}
_OUTPUTS = {"restored", "thickness"}


def load_onnx(path: Path | str) -> "OnnxNetwork":
    """Load a network that ThiefCloud/export.py wrote.

    Returns:
        The network for `restore`. It computes on the CPU, in float32, on as many threads as
        PyTorch would.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or does not restore images of any size.
        UserError: onnxruntime is not installed.
    """
    path = Path(path)
    onnxruntime = import_extra("onnxruntime")
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no exported network {path}; ThiefCloud/export.py --out {path} writes it."
        )

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what fails is raised anyway
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no class in common
        raise CheckpointError(
            f"{path} cannot be read as an ONNX file ({_reason(error)}); expected one of "
            "ThiefCloud/export.py: export it anew, or name weights by --checkpoint."
        ) from error

    _check_signature(session, path)
    return OnnxNetwork(session)


class OnnxNetwork(Restorer):
    """Exported network that onnxruntime computes.

    Args:
        session: the network; see `load_onnx`.

    Shape: cloudy images (N, in_channels, H, W) in [0, 1] to a `Restoration`. H and W must be
    multiples of 8; `restore` takes any size.
    """

    def __init__(self, session: "InferenceSession") -> None:
        super().__init__()
        self.session = session
        self.inputs = {node.name for node in session.get_inputs()}
        self.outputs = {node.name for node in session.get_outputs()}
        self.in_channels = session.get_inputs()[0].shape[1]

        # It holds no value, but a device and a dtype.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    @property
    def reads_statistics(self) -> bool:
        """True if statistics are an input."""
        return "statistics" in self.inputs

    @property
    def sees_thickness(self) -> bool:
        """True if thickness is an output."""
        return "thickness" in self.outputs

    def forward(
        self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None
    ) -> Restoration:
        """Restore cloudy images; see `Restorer`. It has no outputs for supervision."""
        from thiefcloud.inference import onnx_runtime

        given = None if statistics is None else statistics.float().cpu().numpy()
        try:
            arrays = onnx_runtime.restore(self.session, cloudy.float().cpu().numpy(), given)
        except (ValueError, MemoryError):
            raise
        except Exception as error:  # onnxruntime's are no RuntimeErrors, as PyTorch's are
            raise RuntimeError(f"onnxruntime failed: {_reason(error)}") from error

        maps = {name: torch.from_numpy(array).to(cloudy) for name, array in arrays.items()}
        thickness = maps.get("thickness")
        if thickness is None:
            thickness = torch.zeros_like(cloudy[:, :1])
        return Restoration(maps["restored"], None, None, thickness)


def import_extra(name: str) -> ModuleType:
    """Import a package of the extra `onnx`.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f'{name} is needed and cannot be imported ({error}); run pip install -e ".[onnx]".'
        ) from error


def _check_signature(session: "InferenceSession", path: Path) -> None:
    """Raise CheckpointError unless inputs and outputs are those of an exported network."""
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    nodes = (*inputs.values(), *outputs.values())
    is_float = all(node.type == "tensor(float)" for node in nodes)
    is_named = {"image"} <= inputs.keys() <= _INPUTS and {"restored"} <= outputs.keys() <= _OUTPUTS
    image = inputs["image"].shape if is_named else []

    if not is_float or len(image) != 4 or not isinstance(image[1], int):
        described = ", ".join(f"{node.name} {node.type} {node.shape}" for node in nodes)
        raise CheckpointError(
            f"{path} has the inputs and outputs {described}; expected image and restored, as "
            "tensor(float): export a network that removes cloud by ThiefCloud/export.py."
        )
    rows = 2 * image[1] - 1
    if "statistics" in inputs and inputs["statistics"].shape[1:] != [rows, STATISTICS]:
        raise CheckpointError(
            f"{path} takes statistics of the shape {inputs['statistics'].shape}, expected (N, "
            f"{rows}, {STATISTICS}): an older version wrote it, so export it anew."
        )
    if isinstance(image[2], int):
        raise CheckpointError(
            f"{path} takes only tiles of {image[2]}x{image[3]} pixels, expected any size: export "
            "it anew, without --tile."
        )


def _reason(error: Exception) -> str:
    """Return the end of the first line of an error of onnxruntime, without its codes."""
    lines = str(error).splitlines()
    return lines[0].rpartition(" : ")[2] if lines else type(error).__name__
