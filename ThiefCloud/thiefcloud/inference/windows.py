"""Restoration of one window of a scene: a pure function of the scene and its statistics."""

import torch
from torch import Tensor

from cloudkit.imaging.padding import inference
from scpm import FACTOR, Prior, on_tile
from thiefcloud.inference.scene_statistics import SceneStatistics
from thiefcloud.inference.tiles import PaddedScene, Source, Window
from thiefcloud.network.base import RemovalNetwork

NETWORK_HALO = 64  # pixels around a window that the network behind the inversion sees
COARSEST = 32  # pixels in a cell of the inversion's coarsest level


def restore_window(
    model: RemovalNetwork,
    source: Source,
    statistics: SceneStatistics,
    window: Window,
    *,
    fast: bool = False,
) -> tuple[Tensor, Tensor]:
    """Restore any window of a scene as one pass over the whole scene would.

    Args:
        model: the network, on any device.
        source: the scene.
        statistics: those of the scene.
        window: what to restore; nothing depends on how a scene is divided.
        fast: restore by the inversion alone, without the network behind it.

    Returns:
        The restored pixels (bands, h, w), clamped to [0, 1], and the thickness (1, h, w), the same.
        Pixels without data, and borders, come as they were read, with the thickness 0.

    Raises:
        ValueError: valid pixels are not in [0, 1].
        UserError: the statistics are those of another scene or network, or `fast` needs an
            inversion that the network lacks.
    """
    scene = statistics.padded(source)
    pixels, valid = source.read(window)
    valid = valid & pixels.any(0)
    thickness = pixels.new_zeros(1, *pixels.shape[1:])

    inside = window.common(statistics.inside)
    valid_inside = inside.of(valid, origin=window[:2])
    if not valid_inside.any():
        return pixels, thickness

    core = scene.place(inside)
    restored, found = _restore_inside(model, scene, statistics, core, fast=fast)
    if scene.filters:  # an odd pixel changes as those around it do
        given = torch.where(valid_inside, inside.of(pixels, origin=window[:2]), 0)
        restored = restored.to(given) + (given - scene.read(core)[0])

    results = restored.clamp(0, 1), found.clamp(0, 1)
    for target, result in zip((pixels, thickness), results, strict=True):
        part = inside.of(target, origin=window[:2])
        part.copy_(torch.where(valid_inside, result.to(part), part))
    return pixels, thickness


def _restore_inside(
    model: RemovalNetwork,
    scene: PaddedScene,
    statistics: SceneStatistics,
    core: Window,
    *,
    fast: bool,
) -> tuple[Tensor, Tensor]:
    """Restore a window of a padded scene, and return it and its thickness, raw."""
    with inference(model):
        image, prior = prepare(model, scene, statistics, core)
        near = core.grown(NETWORK_HALO, FACTOR, scene.size)
        restored = image
        if not fast:
            with on_tile(statistics.tile(model, near, scene)):
                restored = model.remove(image, prior, supervision=False).restored

    outputs = []
    for output in (restored, prior.thickness):
        outputs.append(core.of(output[0], origin=near[:2]).clone())
    return outputs[0], outputs[1]


def prepare(
    model: RemovalNetwork, scene: PaddedScene, statistics: SceneStatistics, core: Window
) -> tuple[Tensor, Prior]:
    """Compute the inputs of the network behind the inversion: the inverted image and the prior.

    They show the window and `NETWORK_HALO` around it.
    """
    wide = core.grown(statistics.halo, COARSEST, scene.size)
    near = core.grown(NETWORK_HALO, FACTOR, scene.size)
    cloudy = scene.read(wide).to(next(model.parameters()))
    of_image = statistics.image
    if of_image is not None:
        of_image = of_image.to(cloudy.device)

    with on_tile(statistics.tile(model, wide, scene)):
        prior = model.prior(cloudy)
        image = model.invert(cloudy, prior, of_image)

    return near.of(image, origin=wide[:2]).clone(), crop_prior(prior, near, wide)


def crop_prior(prior: Prior, window: Window, within: Window) -> Prior:
    """Crop the outputs of the prior from one window to another."""
    maps = []
    for one in prior:
        scale = within.height // one.shape[-2]
        maps.append(window.of(one, scale, within[:2]).clone())  # lets go of the rest
    return Prior(*maps)
