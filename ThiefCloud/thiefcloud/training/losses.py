"""Loss of ThiefCloud: pixel loss and features of VGG16, for the outputs of three levels."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudkit.checkpoints import CheckpointError, fitting_weights, read_file
from cloudkit.errors import UserError
from thiefcloud.network.base import Restoration

PixelLoss = Literal["mse", "l1", "psnr"]
LEVEL_WEIGHTS = {"restored": 2.4, "half": 0.3, "quarter": 0.3}
_INVERTED_WEIGHT = 0.3  # of what the inversion leaves, which the network then adds to
_SMALLEST_ERROR = 6e-5  # mean square, or 42 dB; nothing is to be gained far below it
_VALUES = (-0.5, 1.5)  # beyond them lie mistakes, which the network does not see


class RestorationLoss(nn.Module):
    """Deep supervision of the paper's code.

    The loss is 2.4, 0.3 and 0.3 times the pixel loss of levels 1, 2 and 3, plus perceptual terms.
    An inversion adds 0.3 times the pixel loss of what it leaves. The error of the thickness map can
    be added where the true one is known.

    Args:
        pixel: "mse" as in the paper, "l1" or "psnr" (`psnr_loss`).
        perceptual_weight: weight of the sum of the perceptual losses of the three outputs; 0.04 in
            the paper.
        vgg: file with the weights of torchvision's VGG16, only read if the weight is not 0.
            Default: torchvision fetches them.
        thickness_weight: weight of the mean absolute error of the thickness map.
    """

    def __init__(
        self,
        pixel: PixelLoss = "mse",
        perceptual_weight: float = 0.0,
        vgg: Path | None = None,
        *,
        thickness_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.pixel = _PIXEL_LOSSES[pixel]
        self.perceptual_weight = perceptual_weight
        self.thickness_weight = thickness_weight
        self.perceptual = PerceptualLoss(load_vgg16(vgg)) if perceptual_weight > 0 else None

    def forward(
        self, result: Restoration, clear: Tensor, thickness: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            result: the network's outputs, with those of levels 2 and 3.
            clear: the clear images, (N, 3, H, W).
            thickness: the true thickness (N, 1, H, W); NaN where it is unknown.

        Returns:
            "loss", and its parts if there are several: "pixel", "perceptual", "thickness". It is
            their weighted sum.

        Raises:
            ValueError: levels 2 and 3 are missing.
        """
        outputs = []
        pixel = clear.new_zeros(())
        for level, weight in LEVEL_WEIGHTS.items():
            output = getattr(result, level)
            if output is None:
                raise ValueError(
                    "levels 2 and 3 are missing from the result; expected a forward pass with "
                    "supervision=True."
                )
            outputs.append(output)
            pixel = pixel + weight * self.pixel(output, clear)
        if result.inverted is not None:
            pixel = pixel + _INVERTED_WEIGHT * self.pixel(result.inverted, clear)

        parts: dict[str, Tensor] = {}
        loss = pixel
        if self.perceptual is not None:
            parts["perceptual"] = self.perceptual(outputs, clear)
            loss = loss + self.perceptual_weight * parts["perceptual"]
        if self.thickness_weight > 0 and thickness is not None and result.thickness is not None:
            parts["thickness"] = thickness_loss(result.thickness, thickness)
            loss = loss + self.thickness_weight * parts["thickness"]
        return {"loss": loss, "pixel": pixel, **parts} if parts else {"loss": loss}


def psnr_loss(images: Tensor, clear: Tensor) -> Tensor:
    """Return the mean logarithm of the squared error, which is minus the PSNR over 10.

    So every image counts alike: those under thick cloud, whose error is large, do not decide alone.

    Args:
        images: (N, C, H, W).
        clear: the same.
    """
    error = (images.float().clamp(*_VALUES) - clear).square().mean((1, 2, 3))
    return (error + _SMALLEST_ERROR).log10().mean()


def thickness_loss(found: Tensor, true: Tensor) -> Tensor:
    """Return the mean absolute error of thickness maps where the true ones are known.

    Args:
        found: (N, 1, H, W).
        true: the same; NaN where it is unknown. If it is unknown everywhere, the error is 0.
    """
    known = ~true.isnan()
    error = (found.float() - true.nan_to_num()).abs() * known
    return error.sum() / known.sum().clamp_min(1)


_PIXEL_LOSSES: dict[PixelLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "psnr": psnr_loss,
}


class PerceptualLoss(nn.Module):
    """Distance in the features of VGG16 (Johnson et al., ECCV 2016).

    It is the mean over relu1_2, relu2_2 and relu3_3 of their MSE. As in the paper's code, images
    are not normalised by the mean and deviation of ImageNet.

    Args:
        features: the convolutional part of torchvision's VGG16; it is frozen.
    """

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for first, last in pairwise((0, 4, 9, 16)):  # one past relu1_2, relu2_2, relu3_3
            self.stages.append(features[first:last])
        self.requires_grad_(False)

    def forward(self, outputs: list[Tensor], clear: Tensor) -> Tensor:
        """Sum the distances of outputs (N, 3, H, W) to clear images (N, 3, H, W)."""
        count = len(outputs)
        with torch.no_grad():
            targets = self._features(clear)
        found = self._features(torch.cat(outputs))

        distance = clear.new_zeros(())
        for one, target in zip(found, targets, strict=True):
            error = F.mse_loss(one, target.repeat(count, 1, 1, 1))
            distance = distance + count * error / len(self.stages)
        return distance

    def _features(self, images: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            images = stage(images)
            features.append(images)
        return features


def load_vgg16(path: Path | None) -> nn.Sequential:
    """Load the convolutional part of VGG16 with ImageNet weights.

    Args:
        path: file of torchvision's weights. Default: torchvision fetches them.

    Raises:
        UserError: there are no such weights; the message names both ways out.
    """
    from torchvision.models import VGG16_Weights, vgg16  # takes a second, so only where needed

    weights = VGG16_Weights.IMAGENET1K_V1

    # The weights come from a file, so random ones, half a gigabyte, need not be drawn.
    with torch.device("meta"):
        network = vgg16(init_weights=False)

    if path is not None:
        try:
            network.load_state_dict(fitting_weights(network, read_file(path), path), assign=True)
        except CheckpointError as error:
            raise UserError(
                f"{path} does not hold torchvision's VGG16: fetch {weights.url} and name that "
                f"file. {error}"
            ) from error
        return network.features

    try:
        network.load_state_dict(weights.get_state_dict(progress=True, check_hash=True), assign=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            "the perceptual loss needs VGG16's weights, and torchvision could not fetch them "
            f"({error}). Either fetch {weights.url} on another machine and name the file with "
            "--vgg FILE, or train without this part: --perceptual 0."
        ) from error
    return network.features
