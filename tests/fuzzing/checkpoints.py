"""Cases of damaged checkpoints, released weights, files of the official code and states."""

import io
import random
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import scpm
import thiefcloud
from cloudkit.checkpoints import save_checkpoint, save_released
from cloudkit.errors import UserError
from cloudkit.processes import Processes
from scpm import SCPM
from tests.fuzzing.mutations import BYTES, change_value, rewrite_zip
from tests.official import formula_weights, prior_weights
from thiefcloud import ThiefCloud
from trainkit.training.precision import MixedPrecision
from trainkit.training.trainer import Trainer

CPU = torch.device("cpu")


class Source(NamedTuple):
    """A valid file."""

    name: str
    content: bytes
    is_zip: bool
    use: Callable[[Path], None]
    """Loads the file as a user would, and demands finite results."""


def check(seed: int, number: int) -> str:
    """Damage a file, load it, and return "refused" or "sound"."""
    dice = random.Random(f"{seed}-{number}")
    source = dice.choice(_sources())
    content = _damaged(source, dice)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"file{dice.choice(('.pt', '.pth', '.safetensors', '.ckpt'))}"
        path.write_bytes(content)
        try:
            source.use(path)
        except UserError as error:
            message = str(error)
        else:
            return "sound"

    assert len(message) < 2000, f"a long message: {message[:2000]}"
    assert path.name in message or "loss is" in message, f"a message without the file: {message}"
    return "refused"


def _damaged(source: Source, dice: random.Random) -> bytes:
    is_pickled = not source.name.endswith("safetensors")
    way = dice.random()
    if is_pickled and way < 0.55:
        content: dict[Any, Any] = torch.load(io.BytesIO(source.content), weights_only=True)
        for _ in range(dice.choice((1, 1, 1, 3))):
            change_value(content, dice)
        return _pickled(content, is_old=dice.random() < 0.25)
    if source.is_zip and way < 0.75:
        return rewrite_zip(source.content, dice)
    return dice.choice(BYTES)(source.content, dice)


def _pickled(content: object, *, is_old: bool = False) -> bytes:
    target = io.BytesIO()
    torch.save(content, target, _use_new_zipfile_serialization=not is_old)
    return target.getvalue()


@cache
def _sources() -> list[Source]:
    """Make a small file of each kind that is read."""
    torch.manual_seed(0)
    prior, network = SCPM().eval(), ThiefCloud(SCPM(), residual=True, inversion=True).eval()
    official, weights = formula_weights(), prior.state_dict()
    wrapped = {
        "epoch": 3,
        "state_dict": {f"module.{k}": v for k, v in prior_weights(official).items()},
    }
    both = {"scpm": prior, "thiefcloud": network}

    sources = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.pt"
        for name, model in both.items():
            use = _use_prior if name == "scpm" else _use_network
            config: dict[str, Any] = model.config  # type: ignore[assignment]
            save_checkpoint(
                path, name, config, {"model": model.state_dict(), "score": 1.0, "step": 2}
            )
            sources.append(Source(name, path.read_bytes(), True, use))
            save_released(path, name, config, model.state_dict(), {"about": "x", "step": 2})
            sources.append(Source(f"{name} safetensors", path.read_bytes(), False, use))

        for name in ("adam", "sgd"):
            trainer = _trainer(name)
            _step(trainer)
            trainer.progress.history = [{"step": 1, "val/psnr": 20.5}]
            trainer.save_last(path)
            use = _use_adam if name == "adam" else _use_sgd
            sources += [
                Source(f"{name} state {copy_}", path.read_bytes(), True, use) for copy_ in "ab"
            ]

    sources.append(Source("bare", _pickled(weights), True, _use_prior))
    sources.append(Source("official", _pickled(prior_weights(official)), True, _use_prior))
    old = _pickled(prior_weights(official), is_old=True)
    sources.append(Source("official, older format", old, False, _use_prior))
    sources.append(Source("wrapped", _pickled(wrapped), True, _use_prior))
    sources.append(Source("official network", _pickled(official), True, _use_network))
    return sources


def _use_prior(path: Path) -> None:
    _demand_finite(scpm.load(path))


def _use_network(path: Path) -> None:
    _demand_finite(thiefcloud.load(path))


def _demand_finite(model: nn.Module) -> None:
    assert all(value.isfinite().all() for value in model.state_dict().values())
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = [output for output in model(image) if output is not None]
    assert all(output.isfinite().all() for output in outputs), "a silent non-finite result"


def _trainer(kind: str) -> Trainer[nn.Module]:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    trainer: Trainer[nn.Module] = Trainer(
        "scpm",
        model,
        {},
        precision=MixedPrecision("fp32", CPU),
        ema=0.9 if kind == "adam" else 0.0,
        processes=Processes(0, 1, CPU),
        options={"lr": 1.0},
    )
    trainer.begin_phase(_optimizer(kind, trainer))
    return trainer


def _optimizer(kind: str, trainer: Trainer[nn.Module]) -> torch.optim.Optimizer:
    weights = trainer.model.parameters()
    if kind == "adam":
        return torch.optim.Adam(weights, lr=0.1)
    return torch.optim.SGD(weights, lr=0.1, momentum=0.9)


def _step(trainer: Trainer[nn.Module]) -> None:
    batches = [torch.rand(16, 4, generator=torch.Generator().manual_seed(3))]
    trainer.train_steps(
        batches,  # type: ignore[arg-type]
        lambda model, batch: {"loss": model(batch).square().mean()},
        lambda step: 0.01,
        first=0,
        title="",
    )


def _use_adam(path: Path) -> None:
    _resume("adam", path)


def _use_sgd(path: Path) -> None:
    _resume("sgd", path)


def _resume(kind: str, path: Path) -> None:
    trainer = _trainer(kind)
    trainer.restore(path)
    trainer.begin_phase(_optimizer(kind, trainer))
    _step(trainer)
    trainer.save_last(path.with_name("again.pt"))
