r"""Give weights the removal of overlays: even cloud that a map program laid over whole images.

The pairs of RICE1 are such images (`thiefcloud/network/overlay.py` says how they are known). The
fit reads statistics of the training images alone, and takes minutes on a CPU. All other weights
stay as they are. Then the validation images decide how far the inversion is followed where an
overlay was removed: not at all, by half, or wholly.

    # For scenes of all kinds: sources of the mixture with overlay = true, told from all others
    python ThiefCloud/fit_overlay.py --checkpoint runs/general/best.pt --dataset mixture \
        --mixture checkpoints/recipes/general.toml --root DIR --out runs/general-overlay.pt
    # For one dataset: all of its pairs are under overlays
    python ThiefCloud/fit_overlay.py --checkpoint runs/rice1/best.pt --dataset rice1 --root DIR \
        --out runs/rice1-overlay.pt

An overlay that the weights have already is fitted anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import thiefcloud
from cloudkit.checkpoints import require_rgb, save_checkpoint
from cloudkit.errors import UserError
from cloudkit.folders import require_folder
from cloudkit.processes import Processes, join_processes
from cloudkit.script.checks import require_seed
from cloudkit.script.command_line import parser, plain, run_script
from thiefcloud import RemovalNetwork, restore
from thiefcloud.data.datasets import open_data
from thiefcloud.data.options import DataOptions
from thiefcloud.inference.options import GENERAL, Weights
from thiefcloud.network.overlay import Overlay
from thiefcloud.training.overlay_fit import (
    best_opacity,
    cross_validate,
    fit_overlay,
    fit_trust,
    psnr_without,
)
from thiefcloud.training.overlay_samples import Samples, read_samples
from trainkit.data.scenes import Scene, Scenes, check_scenes, mean_scores
from trainkit.scoring.metrics import UNIFORM_SIZE, psnr


@dataclass(frozen=True)
class OverlayOptions(DataOptions):
    """Options of the fit."""

    checkpoint: Weights = GENERAL
    """Weights to begin with: a file, or the name of released ones."""
    out: Path = Path("runs/overlay.pt")
    """File for the weights with the overlay."""
    steps: int = 4000
    """Steps of the fit of the opacity, and of the recognition."""
    folds: int = 0
    """Cross-validate before: leave out this many blocks of pairs in turn, and print how well they
    are restored. 0: do not."""
    crop: int = 256
    """Side in pixels of crops of images without overlay, which are seen beside whole ones."""
    seed: int = 0
    """Seed of all that is drawn."""

    def __post_init__(self) -> None:
        """Reject options that cannot be used."""
        super().__post_init__()
        require_seed(seed=self.seed)
        if self.steps < 1:
            raise ValueError(f"--steps is {self.steps}, expected at least 1.")
        if self.folds < 0 or self.folds == 1:
            raise ValueError(f"--folds is {self.folds}, expected at least 2, or 0 for none.")
        if self.crop < 1:
            raise ValueError(f"--crop is {self.crop}, expected at least 1 pixel.")


def main(options: OverlayOptions) -> None:
    """Read the images, fit the overlay, validate and save."""
    require_folder(options.out.parent)
    if options.out.is_dir():
        raise UserError(f"--out {options.out} is a folder, expected a file, such as overlay.pt.")
    with join_processes("cpu") as processes:
        data = open_data(options)
        data.require("train")
        data.require("val")
        check_scenes(data.val, processes, smallest=UNIFORM_SIZE)
        print(data.note)
        model = require_rgb(thiefcloud.load(options.checkpoint), options.checkpoint)
        before = validate(model, data.val, processes)

        samples = read_samples(
            data, processes, crop=options.crop, seed=options.seed, show_progress=True
        )
        if options.folds:
            print(describe_folds(samples, options))

        torch.manual_seed(options.seed)
        overlay = model.add_overlay()
        fit_overlay(overlay, samples, steps=options.steps, seed=options.seed)
        model.eval()
        if model.inversion is None:
            scores = {1.0: validate(model, data.val, processes)}
        else:
            scores = fit_trust(overlay, lambda: validate(model, data.val, processes))
        score = max(scores.values())
        print(describe(model, samples))
        print(f"validation PSNR {before:.2f} dB before, {score:.2f} dB with the overlay")
        if model.inversion is not None:
            print(describe_trust(overlay, scores))

        state = {
            "model": model.state_dict(),
            "score": score,
            "step": 2 * options.steps,
            "options": plain(options),
        }
        save_checkpoint(options.out, model.kind, model.config, state)
        print(f"weights with the overlay: {options.out}")


def describe_folds(samples: Samples, options: OverlayOptions) -> str:
    """Cross-validate, and say how well pairs are restored that took no part in the fit."""
    pairs = samples.pairs
    if options.folds > len(pairs.clear):
        raise UserError(
            f"--folds is {options.folds}, expected at most one for each of the {len(pairs.clear)} "
            "pairs."
        )
    opacity, recognised = cross_validate(
        samples, options.folds, steps=options.steps, seed=options.seed
    )
    return (
        f"PSNR of pairs that were left out, in {options.folds} blocks: "
        f"{psnr_without(pairs, opacity):.2f} dB with the opacity that is told, "
        f"{psnr_without(pairs, opacity * recognised):.2f} dB if an overlay is recognised at all, "
        f"which is so in {int(recognised.sum())} of {len(recognised)}"
    )


def describe(model: RemovalNetwork, samples: Samples) -> str:
    """Say what the overlay makes of the images that it was fitted to."""
    assert model.overlay is not None
    pairs, others = samples.pairs, [samples.pairs.clear, samples.crops]
    if samples.others is not None:
        others += samples.others[:2]
    with torch.no_grad():
        told = model.overlay(pairs.cloudy)
        under, mistaken = int((told > 0).sum()), int((model.overlay(torch.cat(others)) > 0).sum())
    untouched, best = torch.zeros_like(told), best_opacity(pairs)
    return (
        f"PSNR of the training pairs: {psnr_without(pairs, untouched):.2f} dB untouched, "
        f"{psnr_without(pairs, told):.2f} dB with the opacity that is told, "
        f"{psnr_without(pairs, best):.2f} dB with the best one for each\n"
        f"overlays are recognised in {under} of {len(told)} images under one, and "
        f"in {mistaken} of {sum(map(len, others))} others, all of training"
    )


def describe_trust(overlay: Overlay, scores: Mapping[float, float]) -> str:
    """Say how far the inversion is followed, and what the validation images say to that."""
    each = ", ".join(f"{score:.2f} dB if by {trust:g}" for trust, score in scores.items())
    return f"behind an overlay the inversion is followed by {float(overlay.trust):g} ({each})"


def validate(model: RemovalNetwork, scenes: Scenes, processes: Processes) -> float:
    """Return the PSNR of the validation images."""

    def score(scene: Scene) -> dict[str, float]:
        restored = restore(model, scene.cloudy)[None]
        return {"psnr": float(psnr(restored, scene.truth[None]))}

    return mean_scores(scenes, score, processes)["psnr"]


if __name__ == "__main__":
    run_script(main, parser(OverlayOptions, __doc__))
