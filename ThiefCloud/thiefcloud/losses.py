"""The loss of ThiefCloud: the three outputs against the clear image, by pixels and by the features of VGG16."""

from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from cloudkit.checkpoints import read_file
from cloudkit.errors import UserError
from thiefcloud.model import Restoration

PixelLoss = Literal["mse", "l1"]
LEVEL_WEIGHTS = {"restored": 2.4, "half": 0.3, "quarter": 0.3}


class RestorationLoss(nn.Module):
    """Deep supervision of the paper's code: 2.4, 0.3 and 0.3 times the pixel loss of levels 1, 2 and 3, and perceptual terms.

    Args:
        pixel: "mse" as in the paper, or "l1".
        perceptual_weight: of the sum of the perceptual losses of the three outputs; the paper's is 0.04.
        vgg: file with the weights of torchvision's VGG16; default: torchvision fetches them. Only read if the weight is not 0.
    """

    def __init__(self, pixel: PixelLoss = "mse", perceptual_weight: float = 0.0, vgg: Path | None = None) -> None:
        super().__init__()
        self.pixel = F.mse_loss if pixel == "mse" else F.l1_loss
        self.perceptual_weight = perceptual_weight
        self.perceptual = PerceptualLoss(load_vgg16(vgg)) if perceptual_weight > 0 else None

    def forward(self, result: Restoration, clear: Tensor) -> dict[str, Tensor]:
        """The losses of a batch: "loss", and with a perceptual part also "pixel" and "perceptual", whose weighted sum it is."""
        outputs = [output for output in (result.restored, result.half, result.quarter) if output is not None]
        if len(outputs) != len(LEVEL_WEIGHTS):
            raise ValueError("levels 2 and 3 are missing from the result; expected a forward pass with supervision=True.")
        weights = LEVEL_WEIGHTS.values()
        pixel = sum(
            (weight * self.pixel(output, clear) for weight, output in zip(weights, outputs, strict=True)),
            clear.new_zeros(()),
        )
        if self.perceptual is None:
            return {"loss": pixel}
        perceptual = self.perceptual(outputs, clear)
        return {"loss": pixel + self.perceptual_weight * perceptual, "pixel": pixel, "perceptual": perceptual}


class PerceptualLoss(nn.Module):
    """Distance in the features of VGG16 (Johnson et al., ECCV 2016): mean over relu1_2, relu2_2 and relu3_3 of their MSE.

    As in the paper's code, images are not normalised by the mean and deviation of ImageNet.

    Args:
        features: the convolutional part of torchvision's VGG16; it is frozen.
    """

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        ends = (4, 9, 16)  # one past relu1_2, relu2_2, relu3_3
        self.stages = nn.ModuleList(
            features[first:last] for first, last in zip((0, *ends[:-1]), ends, strict=True)
        ).requires_grad_(False)

    def forward(self, outputs: list[Tensor], clear: Tensor) -> Tensor:
        """Sum over outputs (N, 3, H, W) of their distances to clear (N, 3, H, W)."""
        count, distance = len(outputs), clear.new_zeros(())
        with torch.no_grad():
            wanted = self._features(clear)
        for found, target in zip(self._features(torch.cat(outputs)), wanted, strict=True):
            distance = distance + count * F.mse_loss(found, target.repeat(count, 1, 1, 1)) / len(self.stages)
        return distance

    def _features(self, images: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            images = stage(images)
            features.append(images)
        return features


def load_vgg16(path: Path | None) -> nn.Sequential:
    """The convolutional part of VGG16 with ImageNet weights, from a file or from torchvision.

    Raises:
        UserError: the weights cannot be had; the message names both ways out.
    """
    weights = torchvision.models.VGG16_Weights.IMAGENET1K_V1
    with torch.device("meta"):  # the weights come from the file: half a gigabyte need not be drawn first
        network = torchvision.models.vgg16(init_weights=False)
    if path is not None:
        try:
            network.load_state_dict(read_file(path), assign=True)
        except RuntimeError as error:
            raise UserError(f"{path} does not hold torchvision's VGG16: fetch {weights.url} and name that file.") from error
        return network.features
    try:
        network.load_state_dict(weights.get_state_dict(progress=True, check_hash=True), assign=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"the perceptual loss needs VGG16's weights, and torchvision could not fetch them ({error}). Either fetch "
            f"{weights.url} on another machine and name the file with --vgg FILE, or train without this part: --perceptual 0."
        ) from error
    return network.features
