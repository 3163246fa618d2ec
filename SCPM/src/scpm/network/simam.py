"""SimAM, an attention without parameters (Yang et al., ICML 2021)."""

import torch
from torch import Tensor, nn

from scpm.network.scene import current_tile


class SimAM(nn.Module):
    """Attention that weights each value by its distance from the mean of its channel.

    The weight is the sigmoid of the inverse energy of the neuron.

    Args:
        regularisation: the lambda of the paper, added to the channel's variance.

    Shape: (N, C, H, W) to the same; H * W must be at least 2.
    """

    def __init__(self, regularisation: float = 1e-4) -> None:
        super().__init__()
        self.regularisation = regularisation

    def forward(self, features: Tensor) -> Tensor:
        """Return the weighted features, (N, C, H, W)."""
        tile = current_tile()
        if tile is None:
            squared = (features - features.mean(dim=(2, 3), keepdim=True)).square()
            variance = self._variance(squared)
        else:
            mean, variance = tile.moments(self, features)
            squared = (features - mean.to(features)[..., None, None]).square()
            variance = variance.to(features)[..., None, None]
        return features * (squared / (4 * (variance + self.regularisation)) + 0.5).sigmoid()

    @staticmethod
    def _variance(squared: Tensor) -> Tensor:
        """Return the variance of each channel, (N, C, 1, 1), from squared distances."""
        count = squared.shape[2] * squared.shape[3] - 1
        # A sum of squares over a large image overflows in half precision.
        dtype = torch.promote_types(squared.dtype, torch.float32)
        total = squared.sum(dim=(2, 3), keepdim=True, dtype=dtype)
        return (total / count).to(squared.dtype)
