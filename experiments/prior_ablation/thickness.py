"""Correlation of SCPM's thickness maps with the opacity of real clouds, before and after tuning.

Maps are not clamped. Tuning keeps SCPM's thickness head, so its maps lose their scale and zero,
and a clamped map may be constant. A correlation does not depend on scale and zero.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scpm
import thiefcloud
from cloudkit.imaging.padding import at_any_size
from cloudkit.progress import progress_bar
from scpm import FACTOR, SCPM
from scpm.simulation.opacity import estimate_opacity
from trainkit.data.scenes import Scene
from trainkit.scoring.metrics import correlation

# "within": {image: correlation over its pixels}, "between": correlation over the pixels of all
Correlations = dict[str, Any]


def compare_tuning(
    checkpoint: Path, prior: Path | None, scenes: Sequence[Scene], device: torch.device
) -> dict[str, Correlations]:
    """Return the correlations of a prior, {"before": ..., "after": ...} it was tuned.

    Args:
        checkpoint: Trained ThiefCloud with a prior.
        prior: Weights of SCPM before tuning; None if it was frozen, so that both are equal.
        scenes: Real pairs.
        device: Device for the networks.
    """
    tuned = thiefcloud.load(checkpoint).prior
    assert isinstance(tuned, SCPM)
    after = correlate(tuned.to(device), scenes)
    if prior is None:
        return {"before": after, "after": after}
    return {"before": correlate(scpm.load(prior).to(device), scenes), "after": after}


def correlate(network: SCPM, scenes: Sequence[Scene]) -> Correlations:
    """Return the correlations of a network's thickness maps with the opacity of real pairs."""
    within: dict[str, float] = {}
    maps, opacities = [], []
    for index in progress_bar(
        range(len(scenes)), desc="comparing thickness", unit="image", leave=False
    ):
        scene = scenes[index]
        thickness = raw_thickness(network, scene.cloudy).flatten()
        opacity = estimate_opacity(scene.cloudy, scene.truth).flatten()
        within[scene.name] = float(correlation(thickness[None], opacity[None]))
        maps.append(thickness)
        opacities.append(opacity)

    between = float(correlation(torch.cat(maps)[None], torch.cat(opacities)[None]))
    return {"within": within, "between": between}


def raw_thickness(network: SCPM, image: Tensor) -> Tensor:
    """Return the thickness map (1, H, W) of an image (3, H, W) of any size, not clamped."""
    (thickness,) = at_any_size(network, image, FACTOR, lambda batch: [network(batch).thickness])
    return thickness
