"""Train ThiefCloud in the paper's two phases: with the cloud prior SCPM frozen, then tunable. An inversion may come before them.

    python ThiefCloud/train.py                                            # the sample chips, minutes on two CPU cores
    python ThiefCloud/train.py --dataset rice1 --root DIR --prior FILE --out runs/rice1      # the paper's recipe
    python ThiefCloud/train.py --dataset rice1 --root DIR --prior FILE --preset inversion    # better: an inversion before it
    python ThiefCloud/train.py --dataset folder --root DIR --prior FILE --preset quick       # your own pairs, quickly
    python ThiefCloud/train.py --out runs/rice1 --resume                  # go on after an interruption
    torchrun --nproc-per-node 2 ThiefCloud/train.py --dataset rice1 --root DIR ...           # two GPUs

The run's folder holds best.pt (for test.py and predict.py), last.pt, options.json, history.json and TensorBoard records;
inversion.pt and frozen.pt hold the best weights at the end of these phases, with which the next one begins.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scpm
import thiefcloud
from cloudkit.cli import SAMPLE, plain, run
from cloudkit.distributed import World, join_world
from cloudkit.errors import UserError
from cloudkit.files import write_atomically
from cloudkit.panels import side_by_side
from cloudkit.runs import LAST, RunFolder, check_folder, training_parser
from cloudkit.scenes import Scene, check_scenes, mean_scores
from cloudkit.scoring.metrics import UNIFORM_SIZE, psnr, ssim
from cloudkit.training import Mixed, Trainee, fuses
from scpm import SCPM
from thiefcloud import NoPrior, ThiefCloud, UNet, restore, restore_and_detect
from thiefcloud.data import Data, TrainingBatches, WholeImages, open_data
from thiefcloud.even_fit import fit_even
from thiefcloud.losses import RestorationLoss
from thiefcloud.options import BROUGHT_ALONG, OUT, PRESETS, TrainOptions, default_prior
from thiefcloud.phases import Phase, phases_of, prepare
from thiefcloud.weights import load_into


def main(options: TrainOptions) -> None:
    """Run all phases, validating and saving every `validate_every` epochs."""
    with join_world(options.device) as world:
        if world.is_main:  # the others would look when it may already be made
            check_folder(options.out, OUT, resume=options.resume)
        data = open_data(options)
        data.require("train")
        data.require("val")
        check_scenes(data.val, world, smallest=UNIFORM_SIZE)
        last = (options.out or OUT) / LAST
        resuming = options.resume and last.exists()
        model = thiefcloud.load(last) if resuming else new_model(options)
        announce(options, data, world)
        criterion = RestorationLoss(options.pixel, options.perceptual, options.vgg).to(world.device)
        batches = TrainingBatches(
            data,
            crop=options.crop,
            seed=options.seed,
            store=options.store,
            world=world,
            opaque=options.opaque,
            jitter=options.jitter,
        )
        if world.is_main:
            print(batches.note)
        model.to(world.device)
        mixed = Mixed(options.precision, world.device)
        trainee = Trainee(model.kind, model, model.config, mixed=mixed, ema=options.ema, world=world, options=in_force(options))
        saved = trainee.resume(last) if resuming else None
        folder = RunFolder(options.out, OUT, options, resume=options.resume, world=world)
        if options.epochs_inversion and options.even_steps and options.pretrained is None and not resuming:
            fit_coarsest(model, data, options, world)

        phases = phases_of(options)
        for number in range(trainee.progress.phase, len(phases)):
            train_phase(phases[number], options, trainee, batches, criterion, data.val, folder, saved)
            saved = None
            trainee.progress.phase, trainee.progress.epoch = number + 1, 0
        folder.close()
        if world.is_main:
            print(f"best validation PSNR {trainee.progress.best:.2f} dB: {folder.best}")


def train_phase(
    phase: Phase,
    options: TrainOptions,
    trainee: Trainee[ThiefCloud | UNet],
    batches: TrainingBatches,
    criterion: RestorationLoss,
    scenes: Sequence[Scene],
    folder: RunFolder,
    saved: Mapping[str, Any] | None,
) -> None:
    """Train one phase from where `trainee.progress` says it is; `saved` is what a resumed optimizer needs."""
    model, progress = trainee.model, trainee.progress
    if progress.epoch >= phase.epochs:
        return
    if progress.epoch == 0 and progress.history:
        start_from_best(trainee, folder, phases_of(options))

    part, compute_losses = prepare(phase, model, criterion)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=phase.lr, fused=fuses(trainee.world.device))
    trainee.begin_phase(optimizer, part, largest_gradient=phase.largest_gradient)
    if saved and progress.epoch:  # else the phase begins, with an optimizer of its own
        trainee.resume_optimizer(saved)

    batch_of, steps = batches.of_phase(phase.randomness, phase.batch)
    while progress.epoch < phase.epochs:
        count = min(options.validate_every, phase.epochs - progress.epoch)
        losses = trainee.train_steps(
            count * steps,
            batch_of,
            compute_losses,
            lambda step: phase.lr_at(step, steps, options.lr_end),
            first=progress.epoch * steps,
            title=f"{phase.title}, epoch {progress.epoch} of {phase.epochs}",
        )
        progress.epoch += count
        finish_epochs(phase, trainee, folder, scenes, losses)


def new_model(options: TrainOptions) -> ThiefCloud | UNet:
    """The network to begin with: from a file, or at random with its prior from a file."""
    if options.pretrained is not None:
        model = thiefcloud.load(options.pretrained)
        if options.prior is not None:
            if not isinstance(model, ThiefCloud):
                raise UserError(f"--pretrained {options.pretrained} is a U-Net, which takes no prior; leave out --prior.")
            model.replace_prior(scpm.load(options.prior))
        if options.epochs_inversion and model.inversion is None:
            raise UserError(
                f"--pretrained {options.pretrained} has no inversion to train; leave out --epochs-inversion, or --pretrained."
            )
        return model
    torch.manual_seed(options.seed)
    prior = new_prior(options)
    torch.manual_seed(options.seed)  # whatever the prior, the rest begins alike
    ways = {"residual": options.residual, "inversion": options.epochs_inversion > 0}
    return ThiefCloud(prior, **ways) if options.network == "thiefcloud" else UNet(**ways)


def in_force(options: TrainOptions) -> dict[str, Any]:
    """The options as files of weights note them: without those that weights to begin with have decided before."""
    noted = plain(options)
    if options.pretrained is None:
        return noted
    decided = set(BROUGHT_ALONG) - ({"prior"} if options.prior is not None else set())
    return {name: value for name, value in noted.items() if name not in decided}


def fit_coarsest(model: ThiefCloud | UNet, data: Data, options: TrainOptions, world: World) -> None:
    """Fit gain and offset of whole images; every process does the same."""
    assert model.inversion is not None
    images = WholeImages(data, seed=options.seed, device=world.device, opaque=options.opaque)
    error = fit_even(model.inversion, images, steps=options.even_steps, seed=options.seed, show_progress=world.is_main)
    if world.is_main:
        print(f"one gain and offset for each image leave a root mean square error of {error:.4f}")


def new_prior(options: TrainOptions) -> SCPM | NoPrior:
    """The prior to begin with: from a file, untrained, or none."""
    if options.no_prior or options.network == "unet":
        return NoPrior()
    return SCPM() if options.untrained_prior else scpm.load(options.prior or default_prior())


def announce(options: TrainOptions, data: Data, world: World) -> None:
    """Say which files are used, and how to name others."""
    if world.is_main:
        print(data.note)
        if options.pretrained is not None:
            replaced = f", with the prior {options.prior}" if options.prior is not None else ""
            print(f"weights to begin with: {options.pretrained}{replaced}")
        elif not options.no_prior and options.network == "thiefcloud":
            print("prior: untrained" if options.untrained_prior else f"prior: {options.prior or default_prior()}")
        if options.folder == SAMPLE:
            print("these are the sample chips; name a real data set with --dataset NAME --root DIR (see --help)")


def start_from_best(trainee: Trainee[ThiefCloud | UNet], folder: RunFolder, phases: Sequence[Phase]) -> None:
    """Load the best weights so far, kept under the name of the phase that ended, which this one does not touch."""
    ended = phases[int(trainee.progress.history[-1]["phase"])]
    kept = kept_weights(ended, folder)
    if trainee.world.is_main and not kept.exists():
        write_atomically(kept, lambda temporary: shutil.copyfile(folder.best, temporary))
    trainee.world.barrier()
    load_into(trainee.model, kept)
    if trainee.averaged is not None:
        load_into(trainee.averaged.module, kept)


def kept_weights(phase: Phase, folder: RunFolder) -> Path:
    """The file with the best weights at the end of a phase."""
    return folder.path / f"{phase.name}.pt"


def finish_epochs(
    phase: Phase,
    trainee: Trainee[ThiefCloud | UNet],
    folder: RunFolder,
    scenes: Sequence[Scene],
    losses: dict[str, float],
) -> None:
    """Validate, save and report."""
    progress, model = trainee.progress, trainee.best_model
    scores = validate(model, scenes, trainee.world)
    means = {f"train/{name}": value for name, value in losses.items()}
    progress.history.append({"phase": progress.phase, "epoch": progress.epoch, "step": progress.step, **means, **scores})
    if scores["val/psnr"] > progress.best:
        progress.best = scores["val/psnr"]
        trainee.save_best(folder.best)
    if trainee.world.is_main:
        kept_weights(phase, folder).unlink(missing_ok=True)  # this phase goes on, with --resume and more epochs
    folder.record(progress.step, progress.history, lambda: pictures(model, scenes))
    trainee.save_last(folder.last)
    if trainee.world.is_main:
        print(
            f"{phase.title}, epoch {progress.epoch}: loss {losses['loss']:.4f}, "
            f"validation PSNR {scores['val/psnr']:.2f} dB, SSIM {scores['val/ssim']:.4f}"
        )


def validate(model: ThiefCloud | UNet, scenes: Sequence[Scene], world: World) -> dict[str, float]:
    """PSNR and SSIM of whole validation images."""

    def score(scene: Scene) -> dict[str, float]:
        restored = restore(model, scene.cloudy)[None]
        clear = scene.truth[None]
        return {"val/psnr": float(psnr(restored, clear)), "val/ssim": float(ssim(restored, clear))}

    return mean_scores(scenes, score, world)


def pictures(model: ThiefCloud | UNet, scenes: Sequence[Scene], count: int = 4) -> dict[str, Tensor]:
    """Panels for TensorBoard, of the first scenes."""
    panels = {}
    for index in range(min(count, len(scenes))):
        scene = scenes[index]
        restored, thickness = restore_and_detect(model, scene.cloudy)
        images = {"cloudy": scene.cloudy, "thickness": thickness, "restored": restored, "clear": scene.truth}
        panels[scene.name] = side_by_side(images)
    return panels


def preset_of(given: Mapping[str, str]) -> str:
    """Quick for simulated clouds, else the paper's recipe."""
    return given.get("preset", "quick" if given.get("dataset", "simulated") == "simulated" else "paper")


if __name__ == "__main__":
    run(main, training_parser(TrainOptions, PRESETS, preset_of, OUT, __doc__))
