"""SimAM, an attention without parameters (Yang et al., ICML 2021)."""

from torch import Tensor, nn


class SimAM(nn.Module):
    """Weights each value by how far it stands out from its channel: the sigmoid of the inverse energy of its neuron.

    Args:
        regularisation: the lambda of the paper, added to the channel's variance.

    Shape: (N, C, H, W) to the same; H * W must be at least 2.
    """

    def __init__(self, regularisation: float = 1e-4) -> None:
        super().__init__()
        self.regularisation = regularisation

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        squared = (features - features.mean(dim=(2, 3), keepdim=True)).square()
        count = features.shape[2] * features.shape[3] - 1
        variance = squared.sum(dim=(2, 3), keepdim=True) / count
        return features * (squared / (4 * (variance + self.regularisation)) + 0.5).sigmoid()
