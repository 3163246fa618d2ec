"""Loading of networks from any file of weights."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from cloudkit.checkpoints.containers import read_pytorch, read_safetensors
from cloudkit.checkpoints.fitting import fitting_weights
from cloudkit.checkpoints.kinds import Kind, kind_of
from cloudkit.checkpoints.schema import check_checkpoint, first_line, has_our_format
from cloudkit.errors import CheckpointError, UserError
from cloudkit.memory import ordered_to_restore

Network = TypeVar("Network", bound=nn.Module)
# Functions of torch.nn.init, and methods of tensors, that draw weights.
_DRAWING = {"normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"}
_RGB = 3  # bands of the images that the scripts read
_PROBE = 32  # side in pixels of the image that shows if weights give finite values


def load_network(
    path: Path,
    builders: Mapping[str, Callable[[Mapping[str, Any]], Network]],
    official: Callable[[Path], Network],
    *,
    hint: str,
) -> Network:
    """Load a network in eval mode on the CPU from any file of weights.

    Args:
        path: a checkpoint or released weights of this project, or a file of the official code.
        builders: {network, such as "scpm": function that builds it from its config}.
        official: function that loads a file of the official code.
        hint: what to do if the file is not there.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be used.
    """
    content = read_file(path, hint=hint)
    if not is_ours(content):
        return official(path)
    require_network(path, content, *builders)
    missing = {"config", "model"} - content.keys()
    if missing:
        raise CheckpointError(
            f"{path} lacks its {' and '.join(sorted(missing))}; it may be damaged: fetch it anew, "
            "or name another."
        )

    # A config may claim any size, so the network takes memory only once the weights fit it.
    builder, config = builders[content["network"]], content["config"]
    with torch.device("meta"), _WithoutValues():
        planned = _built(builder, config, path)
    weights = fitting_weights(planned, content["model"], path)

    model = _built(builder, config, path)
    model.load_state_dict(weights)
    return ready_to_restore(model, path)


class _WithoutValues(TorchFunctionMode):
    """Let networks on the meta device draw no random weights, for which PyTorch imports much."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Collection[type],
        arguments: tuple[Any, ...] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the tensor as it is in place of drawing it anew."""
        named = named or {}
        if getattr(function, "__name__", "") in _DRAWING:
            return arguments[0] if arguments else named["tensor"]
        return function(*arguments, **named)


def _built(
    builder: Callable[[Mapping[str, Any]], Network], config: Mapping[str, Any], path: Path
) -> Network:
    try:
        return builder(config)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    except (TypeError, ValueError, LookupError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(
            f"{path} cannot be used: its config builds no network ({first_line(error)}). Fetch it "
            "anew, or name another file."
        ) from error


def ready_to_restore(model: Network, path: Path) -> Network:
    """Return a network in eval mode, in the order that is fastest for inference.

    It restores a small image first, because finite weights can still give values that are not.

    Raises:
        CheckpointError: it does not restore the image to finite values.
    """
    ordered_to_restore(model).eval()
    bands = int(model.in_channels)  # type: ignore[arg-type]
    images = torch.linspace(0.1, 0.9, bands * _PROBE**2).view(1, bands, _PROBE, _PROBE)
    with torch.no_grad():
        outputs = [output for output in model(images) if output is not None]
    if not all(output.isfinite().all() for output in outputs):
        raise CheckpointError(
            f"the weights in {path} restore a test image to values that are infinite or not a "
            "number, expected finite ones: the file is damaged, so fetch it anew."
        )
    return model


def require_rgb(model: Network, weights: object) -> Network:
    """Return a network, if it takes the images that the scripts read.

    Args:
        model: the network.
        weights: the name of its file, for the message.

    Raises:
        UserError: it takes another number of bands than three.
    """
    bands = int(model.in_channels)  # type: ignore[arg-type]
    if bands != _RGB:
        raise UserError(
            f"{weights} takes images of {bands} bands, expected {_RGB}, because the "
            "scripts read red, green and blue; name other weights, or use these from Python."
        )
    return model


def read_file(path: Path, *, hint: str = "name another file") -> dict[Any, Any]:
    """Read any file of weights on the CPU, without running code from it.

    Args:
        path: safetensors, or any PyTorch file that holds a dict. The content decides, not the name.
        hint: what to do if it is not there.

    Returns:
        The dict. If it was written by this project, it has the structure of `schema.Checkpoint`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, of another kind, or of a newer version.
    """
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder, expected a file of weights; {_inside(path)}.")
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights {path}; {hint}.")
    kind = kind_of(path)
    is_released = kind is Kind.SAFETENSORS
    content = read_safetensors(path) if is_released else read_pytorch(path, kind)
    if has_our_format(content):
        check_checkpoint(content, path)
    return content


def _inside(folder: Path) -> str:
    """Say which file of a folder may be meant."""
    for pattern in ("best.pt", "last.pt", "*.safetensors", "*.pt", "*.pth", "*.ckpt"):
        if found := sorted(folder.glob(pattern)):
            return f"name {found[0]}" if len(found) == 1 else f"name one in it, such as {found[0]}"
    return "it holds none, so name another file"


def is_ours(content: Mapping[Any, Any]) -> bool:
    """Return True if a file read by `read_file` was written by this project."""
    return has_our_format(content)


def require_network(path: Path, content: Mapping[str, Any], *networks: str) -> None:
    """Raise CheckpointError unless the file holds one of the networks, such as "scpm"."""
    if content.get("network") not in networks:
        expected = " or ".join(map(repr, networks))
        raise CheckpointError(
            f"{path} holds the network {str(content.get('network'))[:40]!r}, expected {expected}: "
            "name another file."
        )
