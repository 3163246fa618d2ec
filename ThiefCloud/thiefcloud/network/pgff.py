"""PGFF, the physics-guided feature fusion: the scattering model, inverted in feature space."""

from torch import Tensor, nn


class PGFF(nn.Module):
    """Physics-guided feature fusion (`SPADE` in the official code).

    The fused features predict a scale and an offset that clear the shallow features. Thin cloud
    mixes I = J t + A (1 - t), hence J = I (1 / t) + A (1 - 1 / t). Here 1 + gamma stands for 1 / t
    and beta for A (1 - 1 / t), both at each place and channel.

    Args:
        channels: width of both inputs and of the output.

    Shape: shallow and fused (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)
        )
        self.gamma = nn.Conv2d(channels, channels, 3, padding=1)
        self.beta = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, shallow: Tensor, fused: Tensor) -> Tensor:
        """Clear the shallow features."""
        hidden = self.shared(fused)
        return shallow * (1 + self.gamma(hidden)) + self.beta(hidden)
