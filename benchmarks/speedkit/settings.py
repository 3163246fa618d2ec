"""The two settings that are compared: what a user of ThiefCloud gets, and the plainest way to run the same weights."""

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
from cloudkit.checkpoints import save_checkpoint
from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.images import write_image
from cloudkit.padding import at_any_size, inference
from cloudkit.stores import Store
from cloudkit.training import Mixed, Precision, Trainee, fuses
from cloudkit.tuning import keep_freed_memory
from scpm import FACTOR, SCPM, DeformConv2d
from thiefcloud import ThiefCloud
from thiefcloud.data import Batch, TrainingBatches, open_data
from thiefcloud.losses import RestorationLoss
from thiefcloud.options import PRESETS, DataOptions
from thiefcloud.restore import scene_statistics

Task = Literal["restore", "frozen", "tunable"]
PAPER = PRESETS["paper"]


@dataclass(frozen=True)
class Case:
    """One thing to measure; plain values, so that it can be sent to another process."""

    setting: Setting
    task: Task
    """Restoring, or a training step with SCPM frozen or tunable."""
    precision: Precision
    size: int
    """Side of the images or crops in pixels."""
    batch: int
    device: str
    weights: Path
    """A checkpoint of ours."""

    def call(self) -> Callable[[], object]:
        """What does the task once, with network and data ready on the device."""
        device = torch.device(self.device)
        if self.task == "restore":
            images = noise(self.batch, self.size).to(device)
            restore = Restorer.of(self.setting, self.precision, self.weights, device).restore
            return lambda: restore(images)
        train = trainer(self)
        return lambda: train(2)


@dataclass(frozen=True)
class Restorer:
    """A network, and how a setting restores with it."""

    setting: Setting
    precision: Precision
    model: ThiefCloud
    device: torch.device

    @classmethod
    def of(cls, setting: Setting, precision: Precision, weights: Path, device: torch.device) -> Self:
        """The network of a setting on a device."""
        return cls(setting, precision, network(setting, weights).to(device), device)

    def restore(self, images: Tensor, *, raw: bool = False) -> Tensor:
        """Images (N, 3, H, W) without cloud, clamped unless raw; H and W are multiples of 8."""
        keep_freed_memory(self.setting == "default")
        with Mixed(self.precision, self.device).autocast():
            if self.setting == "default":
                if raw:
                    return thiefcloud.restore_and_detect(self.model, images, raw=True)[0]
                return thiefcloud.restore(self.model, images)
            statistics = scene_statistics(self.model, images)
            (restored,) = at_any_size(self.model, images, FACTOR, lambda batch: [self.model(batch, True, statistics).restored])
            return restored if raw else restored.clamp(0, 1)


class TorchvisionDeformConv2d(DeformConv2d):
    """The same deformable convolution, computed by torchvision's operator."""

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        n, _, height, width = features.shape
        # ours: nine rows, then nine columns; torchvision's: row and column of each tap
        offsets = self.offsets(features).view(n, 2, -1, height, width).transpose(1, 2).reshape(n, -1, height, width)
        with torch.autocast(features.device.type, enabled=False):  # the operator has no half precision
            return deform_conv2d(features.float(), offsets.float(), self.weight.float(), padding=1).to(features.dtype)


def network(setting: Setting, weights: Path) -> ThiefCloud:
    """The network on the CPU: as `thiefcloud.load` gives it, or as its modules stand in the code.

    Raises:
        UserError: the weights are of another network, or of the official code, whose sampling torchvision does not have.
    """
    model = thiefcloud.load(weights)
    if not isinstance(model, ThiefCloud) or model.prior.config is None or model.prior.config["sampling"] != "standard":
        raise UserError(
            f"{weights} holds no ThiefCloud with a prior of sampling=standard, expected one: torchvision, which this benchmark "
            "compares with, has no other deformable convolution. Leave --checkpoint out, or name another."
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
    """Write a network that never learnt anything; its BatchNorm has seen noise, else folding it would change nothing."""
    torch.manual_seed(0)
    model = ThiefCloud(SCPM()).train()
    with torch.no_grad():
        model(noise(2, 64))
    save_checkpoint(path, "thiefcloud", model.config, {"model": model.state_dict()})
    return path


def noise(batch: int, size: int, seed: int = 0) -> Tensor:
    """Smooth random images (batch, 3, size, size) in [0, 1]."""
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


def useful_flops(model: ThiefCloud, size: int) -> float:
    """Floating-point operations that restoring one image of size x size pixels takes, without outputs that nobody sees.

    Counted on a small image with our own operators (PyTorch does not count torchvision's); the work grows with the pixels.
    """
    side = 64
    with FlopCounterMode(display=False) as counter, inference(model):
        model(noise(1, side).to(next(model.parameters())), supervision=False)
    return counter.get_total_flops() * (size / side) ** 2


def training_batches(case: Case, pairs: int = 16) -> TrainingBatches:
    """Batches from generated pairs, twice as large as the crops, through the files and the code that training uses."""
    with TemporaryDirectory() as folder:
        for index in range(pairs):
            clear = noise(1, 2 * case.size, seed=index)[0]
            write_image(Path(folder) / "clear" / f"{index}.png", clear)
            write_image(Path(folder) / "cloudy" / f"{index}.png", 0.5 * clear + 0.4)
        data = open_data(DataOptions(dataset="folder", root=Path(folder)))
        store: Store = PAPER.store if case.setting == "default" else "host"
        return TrainingBatches(data, crop=case.size, seed=0, store=store, world=World(0, 1, torch.device(case.device)))


def trainer(case: Case) -> Callable[[int], None]:
    """What trains for some steps as ThiefCloud/train.py does, but without the perceptual loss."""
    device = torch.device(case.device)
    model = network(case.setting, case.weights).to(device)
    if case.task == "frozen":
        model.freeze_prior()
    else:
        model.tune_prior()
    mixed, world = Mixed(case.precision, device), World(0, 1, device)
    trainee = Trainee("thiefcloud", model, model.config, mixed=mixed, ema=0.0, world=world, options={})
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    fused = fuses(device) if case.setting == "default" else None
    trainee.begin_phase(torch.optim.Adam(learning, lr=PAPER.lr_end, fused=fused))
    criterion = RestorationLoss(PAPER.pixel).to(device)
    batch_of, _ = training_batches(case).of_phase(0, case.batch)

    def losses_of(parallel: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return criterion(parallel(batch[0]), batch[1])

    def train(steps: int) -> None:
        keep_freed_memory(case.setting == "default")
        title = f"{case.setting}, {case.task}"
        trainee.train_steps(steps, batch_of, losses_of, lambda _: PAPER.lr_end, first=trainee.progress.step, title=title)

    return train
