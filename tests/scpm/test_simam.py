import math

import torch

from scpm.simam import SimAM


def test_formula_value_by_value() -> None:
    features = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features[1, 2] *= 0.001  # here the regularisation matters
    found = SimAM()(features)
    for image, channel in ((n, c) for n in range(2) for c in range(3)):
        values = features[image, channel].flatten().tolist()
        mean = sum(values) / 20
        variance = sum((value - mean) ** 2 for value in values) / 19
        for place, value in enumerate(values):
            y = (value - mean) ** 2 / (4 * (variance + 1e-4)) + 0.5
            expected = value / (1 + math.exp(-y))
            assert math.isclose(found[image, channel].flatten()[place].item(), expected, rel_tol=1e-12)
