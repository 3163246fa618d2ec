import itertools
import math

import torch

from scpm.network.simam import SimAM


def test_formula_value_by_value() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    features[1, 2] *= 0.001  # here the regularisation matters

    found = SimAM()(features)
    for image, channel in itertools.product(range(2), range(3)):
        values = features[image, channel].flatten().tolist()
        mean = sum(values) / 20
        variance = sum((value - mean) ** 2 for value in values) / 19
        for place, value in enumerate(values):
            y = (value - mean) ** 2 / (4 * (variance + 1e-4)) + 0.5
            expected = value / (1 + math.exp(-y))
            weighted = found[image, channel].flatten()[place].item()
            assert math.isclose(weighted, expected, rel_tol=1e-12)
