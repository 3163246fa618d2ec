"""The two settings that are compared: ThiefCloud as users run it, and the simplest way."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import deform_conv2d

import thiefcloud
from benchmarks.speedkit.measuring import Setting
from cloudkit.checkpoints import require_rgb, save_checkpoint
from cloudkit.errors import UserError
from cloudkit.imaging.images import write_image
from cloudkit.imaging.padding import at_any_size, inference
from cloudkit.memory import keep_freed_memory
from cloudkit.processes import Processes
from scpm import FACTOR, SCPM, DeformConv2d
from thiefcloud import ThiefCloud
from thiefcloud.data.batches import Batch, CloudyCrops
from thiefcloud.data.datasets import open_data
from thiefcloud.data.options import DataOptions
from thiefcloud.inference.restore import scene_statistics
from thiefcloud.training.losses import RestorationLoss
from thiefcloud.training.options import PRESETS
from trainkit.data.sampling import batch_loader
from trainkit.training.precision import MixedPrecision, Precision, has_fused_optimizer
from trainkit.training.trainer import Trainer

Task = Literal["restore", "frozen", "tunable"]
PAPER = PRESETS["paper"]


@dataclass(frozen=True)
class Case:
    """Task to measure, in plain values that can be sent to another process."""

    setting: Setting
    task: Task
    """Restoring, or training steps with SCPM frozen or tunable."""
    precision: Precision
    size: int
    """Side of the images or crops in pixels."""
    batch: int
    device: str
    weights: Path
    """Checkpoint of ThiefCloud."""

    def call(self) -> Callable[[], object]:
        """Return a function that does the task once; network and data are on the device."""
        device = torch.device(self.device)
        if self.task == "restore":
            images = noise(self.batch, self.size).to(device)
            restore = Restorer.of(self.setting, self.precision, self.weights, device).restore
            return lambda: restore(images)
        train = training_function(self)
        return lambda: train(2)


@dataclass(frozen=True)
class Restorer:
    """Network together with the setting in which it restores."""

    setting: Setting
    precision: Precision
    model: ThiefCloud
    device: torch.device

    @classmethod
    def of(
        cls, setting: Setting, precision: Precision, weights: Path, device: torch.device
    ) -> Self:
        """Load the network of a setting onto a device."""
        return cls(setting, precision, load_network(setting, weights).to(device), device)

    def restore(self, images: Tensor, *, raw: bool = False) -> Tensor:
        """Restore images (N, 3, H, W), H and W multiples of 8, clamped unless raw."""
        keep_freed_memory(self.setting == "default")
        with MixedPrecision(self.precision, self.device).autocast():
            if self.setting == "default":
                return thiefcloud.restore_and_detect(self.model, images, raw=raw)[0]

            statistics = scene_statistics(self.model, images)
            (restored,) = at_any_size(
                self.model,
                images,
                FACTOR,
                lambda batch: [self.model(batch, True, statistics).restored],
            )
            return restored if raw else restored.clamp(0, 1)


class TorchvisionDeformConv2d(DeformConv2d):
    """Deformable convolution of SCPM, computed by torchvision's operator."""

    def forward(self, features: Tensor) -> Tensor:
        """Convolve (N, in_channels, H, W) to (N, out_channels, H, W)."""
        n, _, height, width = features.shape
        # SCPM has nine rows, then nine columns; torchvision wants row and column of each tap.
        offsets = self.offsets(features).view(n, 2, -1, height, width).transpose(1, 2)
        offsets = offsets.reshape(n, -1, height, width)

        # The operator has no half precision.
        with torch.autocast(features.device.type, enabled=False):
            inputs = features.float(), offsets.float(), self.weight.float()
            return deform_conv2d(*inputs, padding=1).to(features.dtype)


def load_network(setting: Setting, weights: Path) -> ThiefCloud:
    """Return the network on the CPU: as `thiefcloud.load` returns it, or in its simplest form.

    Raises:
        UserError: The weights are of another network, or of the official code, with a sampling
            that torchvision does not have.
    """
    model = require_rgb(thiefcloud.load(weights), weights)
    prior = model.prior.config if isinstance(model, ThiefCloud) else None
    if not isinstance(model, ThiefCloud) or prior is None or prior["sampling"] != "standard":
        raise UserError(
            f"{weights} holds no ThiefCloud with a prior of sampling=standard, expected one, "
            "because torchvision has no other deformable convolution. Leave --checkpoint out, or "
            "name another file."
        )

    if setting == "naive":
        use_torchvision(model)
        model.to(memory_format=torch.contiguous_format)
    return model


def use_torchvision(model: nn.Module) -> None:
    """Replace each deformable convolution of a network by torchvision's."""
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if type(module) is DeformConv2d:
                out_channels, in_channels = module.weight.shape[:2]
                replacement = TorchvisionDeformConv2d(in_channels, out_channels)
                replacement.load_state_dict(module.state_dict())
                setattr(parent, name, replacement)


def save_untrained(path: Path) -> Path:
    """Write an untrained network, with BatchNorm statistics from noise; return its path."""
    torch.manual_seed(0)
    model = ThiefCloud(SCPM()).train()
    with torch.no_grad():
        model(noise(2, 64))
    save_checkpoint(path, "thiefcloud", model.config, {"model": model.state_dict()})
    return path


def noise(batch: int, size: int, seed: int = 0) -> Tensor:
    """Return smooth random images (batch, 3, size, size) in [0, 1]."""
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


def count_flops(model: ThiefCloud, size: int) -> float:
    """Return the floating-point operations that restoring an image of size x size pixels needs.

    They are counted on a small image, because they grow with the number of pixels. The model must
    have the default operators: PyTorch does not count torchvision's.
    """
    side = 64
    with FlopCounterMode(display=False) as counter, inference(model):
        model(noise(1, side).to(next(model.parameters())), supervision=False)
    return counter.get_total_flops() * (size / side) ** 2


def training_crops(case: Case, processes: Processes, pairs: int = 16) -> CloudyCrops:
    """Return crops of generated pairs, from files and through the dataset of the training."""
    with TemporaryDirectory() as folder:
        for index in range(pairs):
            clear = noise(1, 2 * case.size, seed=index)[0]
            write_image(Path(folder) / "clear" / f"{index}.png", clear)
            write_image(Path(folder) / "cloudy" / f"{index}.png", 0.5 * clear + 0.4)

        data = open_data(DataOptions(dataset="folder", root=Path(folder)))
        store = PAPER.store if case.setting == "default" else "host"
        return CloudyCrops(data, crop=case.size, store=store, processes=processes)


def training_function(case: Case) -> Callable[[int], None]:
    """Return a function that trains for some steps.

    It trains as ThiefCloud/train.py does, but without the perceptual loss.
    """
    device = torch.device(case.device)
    model = load_network(case.setting, case.weights).to(device)
    if case.task == "frozen":
        model.freeze_prior()
    else:
        model.tune_prior()

    processes = Processes(0, 1, device)
    trainer = Trainer(
        "thiefcloud",
        model,
        model.config,
        precision=MixedPrecision(case.precision, device),
        ema=0.0,
        processes=processes,
        options={},
    )
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    fused = has_fused_optimizer(device) if case.setting == "default" else None
    trainer.begin_phase(torch.optim.Adam(learning, lr=PAPER.lr_end, fused=fused))

    criterion = RestorationLoss(PAPER.pixel).to(device)
    crops = training_crops(case, processes)
    sampler = crops.sampler(0, case.batch, seed=0, processes=processes)

    def compute_losses(parallel: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return criterion(parallel(batch.cloudy), batch.clear)

    def train(steps: int) -> None:
        keep_freed_memory(case.setting == "default")
        first = trainer.progress.step
        trainer.train_steps(
            batch_loader(crops, sampler.at(range(first, first + steps))),
            compute_losses,
            lambda _: PAPER.lr_end,
            first=first,
            title=f"{case.setting}, {case.task}",
        )

    return train
