"""Restoration of one window of a scene: a pure function of the scene and its statistics."""

import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.padding import inference
from scpm import FACTOR, Prior, on_tile
from thiefcloud.inference.fast import prior_of_reduced
from thiefcloud.inference.gaps import REACH
from thiefcloud.inference.scene_statistics import SceneStatistics
from thiefcloud.inference.tiles import PaddedScene, Source, Window
from thiefcloud.network.base import RemovalNetwork
from thiefcloud.network.overlay import Uncovered, uncover

NETWORK_HALO = 64  # pixels around a window that the network behind the inversion sees
COARSEST = 32  # pixels in a cell of the inversion's coarsest level


def restore_window(
    model: RemovalNetwork,
    source: Source,
    statistics: SceneStatistics,
    window: Window,
) -> tuple[Tensor, Tensor]:
    """Restore any window of a scene as one pass over the whole scene would.

    A pure function: the same arguments give the same bits in any process, with equal threads,
    processor and version of PyTorch. The source is read at most `reach_of` pixels around the
    window. Windows and statistics can be pickled, to be sent to other machines.

    Args:
        model: the network, on any device.
        source: the scene.
        statistics: those of the scene; they decide if it is restored fast.
        window: what to restore; nothing depends on how a scene is divided.

    Returns:
        The restored pixels (bands, h, w), clamped to [0, 1], and the thickness (1, h, w), the same.
        Pixels without data, and borders, come as they were read, with the thickness 0.

    Raises:
        ValueError: valid pixels are not in [0, 1].
        UserError: the statistics are those of another scene or network, or an argument is no
            network, source or window.
    """
    require_scene(model, source)
    if not isinstance(window, Window):
        raise UserError(
            f"the window is {window!r}, expected thiefcloud.Window(top, left, height, width)."
        )
    pixels, thickness, _ = restore_with_gain(model, source, statistics, window)
    return pixels, thickness


def restore_with_gain(
    model: RemovalNetwork,
    source: Source,
    statistics: SceneStatistics,
    window: Window,
    *,
    gain: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Restore a window as `restore_window`, and return the gain of overlay and inversion, too.

    Args:
        model: as in `restore_window`.
        source: the same.
        statistics: the same.
        window: the same.
        gain: compute the gain.

    Returns:
        Pixels, thickness, and the gain (bands, h, w). It is 1 where nothing is restored, and
        everywhere if it is not computed.
    """
    scene = statistics.padded(source)
    pixels, valid = source.read(window)
    valid = valid & pixels.any(0)
    thickness, gains = pixels.new_zeros(1, *pixels.shape[1:]), torch.ones_like(pixels)

    inside = window.common(statistics.inside)
    valid_inside = inside.of(valid, origin=window[:2])
    if not valid_inside.any():
        return pixels, thickness, gains

    core = scene.place(inside)
    restored, found, found_gain = _restore_inside(model, scene, statistics, core, gain=gain)
    if scene.filters:  # an odd pixel changes as those around it do
        given = torch.where(valid_inside, inside.of(pixels, origin=window[:2]), 0)
        restored = restored.to(given) + (given - scene.read(core)[0])

    results = restored.clamp(0, 1), found.clamp(0, 1), found_gain
    for target, result in zip((pixels, thickness, gains), results, strict=True):
        part = inside.of(target, origin=window[:2])
        part.copy_(torch.where(valid_inside, result.to(part), part))
    return pixels, thickness, gains


def require_scene(model: object, source: object) -> None:
    """Check that a network and a scene can be restored by windows.

    Raises:
        UserError: one of them is something else.
    """
    if not hasattr(model, "gated_parts"):  # of a wrapped network, too
        raise UserError(
            f"the model is {type(model).__name__}, expected a network of thiefcloud.load; exported "
            "ones restore whole images alone, by thiefcloud.restore."
        )
    if not all(hasattr(source, name) for name in ("bands", "height", "width", "read")):
        raise UserError(
            f"the scene is {type(source).__name__}, expected a source: "
            "thiefcloud.IntegerSource(array, peak), or ArraySource(array) of "
            "thiefcloud.inference.tiles for floats."
        )


def reach_of(statistics: SceneStatistics) -> int:
    """Return how many pixels around a window `restore_window` reads at most."""
    return statistics.halo + COARSEST - 1 + REACH + 1  # the last pixel is that of the filter


def _restore_inside(
    model: RemovalNetwork,
    scene: PaddedScene,
    statistics: SceneStatistics,
    core: Window,
    *,
    gain: bool,
) -> list[Tensor]:
    """Restore a window of a padded scene, and return it, its thickness and its gain, raw."""
    with inference(model):
        image, prior, thickness, gains = _prepare(model, scene, statistics, core, gain=gain)
        near = core.grown(NETWORK_HALO, FACTOR, scene.size)
        restored = image
        if not statistics.fast:
            with on_tile(statistics.tile(model, near, scene)):
                restored = model.remove(image, prior, supervision=False).restored

    outputs = []
    for output in (restored, thickness, gains):
        outputs.append(core.of(output[0], origin=near[:2]).clone())
    return outputs


def prepare(
    model: RemovalNetwork, scene: PaddedScene, statistics: SceneStatistics, core: Window
) -> tuple[Tensor, Prior]:
    """Compute the inputs of the network behind the inversion: the inverted image and the prior.

    They show the window and `NETWORK_HALO` around it.
    """
    image, prior, *_ = _prepare(model, scene, statistics, core, gain=False)
    return image, prior


def _prepare(
    model: RemovalNetwork,
    scene: PaddedScene,
    statistics: SceneStatistics,
    core: Window,
    *,
    gain: bool,
) -> tuple[Tensor, Prior, Tensor, Tensor]:
    """Compute what `prepare` does, thickness, and the gain; ones if it is not wanted."""
    wide = core.grown(statistics.halo, COARSEST, scene.size)
    near = core.grown(NETWORK_HALO, FACTOR, scene.size)
    uncovered = read_uncovered(model, scene, statistics, wide)
    images = uncovered.images

    prior = see(model, images, statistics, wide, scene)
    gains = torch.ones_like(images)
    if gain:
        if model.inversion is not None:
            gains = model.inversion(images, prior, uncovered.statistics, gain_alone=True)
        gains = uncovered.total_gain(gains)

    maps = model.invert(uncovered, prior), uncovered.with_overlay(prior.thickness), gains
    image, thickness, gains = (near.of(one, origin=wide[:2]).clone() for one in maps)
    return image, crop_prior(prior, near, wide), thickness, gains


def read_uncovered(
    model: RemovalNetwork, scene: PaddedScene, statistics: SceneStatistics, window: Window
) -> Uncovered:
    """Read a window of a padded scene, and remove its overlay."""
    cloudy = scene.read(window).to(next(model.parameters()))
    of_image = statistics.image
    if of_image is not None:
        of_image = of_image.to(cloudy.device, copy=True)
    return uncover(model.overlay, cloudy, of_image)


def see(
    model: RemovalNetwork,
    images: Tensor,
    statistics: SceneStatistics,
    window: Window,
    scene: PaddedScene,
) -> Prior:
    """Compute the prior of the pixels of a window, without overlay."""
    with on_tile(statistics.tile(model, window, scene, statistics.prior_scale)):
        if statistics.fast:
            return prior_of_reduced(model.prior, images)
        prior: Prior = model.prior(images)
        return prior


def crop_prior(prior: Prior, window: Window, within: Window) -> Prior:
    """Crop the outputs of the prior from one window to another."""
    maps = []
    for one in prior:
        scale = within.height // one.shape[-2]
        maps.append(window.of(one, scale, within[:2]).clone())  # lets go of the rest
    return Prior(*maps)
