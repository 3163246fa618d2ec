"""Train ThiefCloud in the paper's two phases: with the cloud prior SCPM frozen, then tunable.

    python ThiefCloud/train.py                                            # the sample chips, minutes on two CPU cores
    python ThiefCloud/train.py --dataset rice1 --root DIR --prior FILE --out runs/rice1      # the paper's recipe
    python ThiefCloud/train.py --dataset folder --root DIR --prior FILE --preset quick       # your own pairs, quickly
    python ThiefCloud/train.py --out runs/rice1 --resume                  # go on after an interruption
    torchrun --nproc-per-node 2 ThiefCloud/train.py --dataset rice1 --root DIR ...           # two GPUs

The run's folder holds best.pt (for test.py and predict.py), last.pt, options.json, history.json and TensorBoard records;
frozen.pt holds the best weights of the frozen phase.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import scpm
import thiefcloud
from cloudkit.cli import SAMPLE, plain, run
from cloudkit.distributed import World, join_world
from cloudkit.files import write_atomically
from cloudkit.panels import side_by_side
from cloudkit.runs import LAST, RunFolder, check_folder, training_parser
from cloudkit.scenes import Scene, check_scenes, mean_scores
from cloudkit.scoring.metrics import UNIFORM_SIZE, psnr, ssim
from cloudkit.training import Mixed, Trainee, fuses
from scpm import SCPM
from thiefcloud import NoPrior, ThiefCloud, UNet, restore, restore_and_detect
from thiefcloud.data import Batch, Data, Looks, TrainingBatches, open_data
from thiefcloud.losses import RestorationLoss
from thiefcloud.options import BROUGHT_ALONG, OUT, PRESETS, TrainOptions
from thiefcloud.veil import Veil, fit_veil
from thiefcloud.weights import load_into

PHASES = ("frozen", "tunable")
FROZEN = "frozen.pt"


def main(options: TrainOptions) -> None:
    """Run both phases, validating and saving every `validate_every` epochs."""
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
            data, crop=options.crop, seed=options.seed, store=options.store, world=world, opaque=options.opaque
        )
        if world.is_main:
            print(batches.note)
        model.to(world.device)
        mixed = Mixed(options.precision, world.device)
        trainee = Trainee(model.kind, model, model.config, mixed=mixed, ema=options.ema, world=world, options=in_force(options))
        saved = trainee.resume(last) if resuming else None
        folder = RunFolder(options.out, OUT, options, resume=options.resume, world=world)
        if model.veil is not None and not resuming and options.pretrained is None:
            fit(model.veil, data, options, world)

        for phase in range(trainee.progress.phase, len(PHASES)):
            train_phase(phase, options, trainee, batches, criterion, data.val, folder, saved)
            saved = None
            trainee.progress.phase, trainee.progress.epoch = phase + 1, 0
        folder.close()
        if world.is_main:
            print(f"best validation PSNR {trainee.progress.best:.2f} dB: {folder.best}")


def train_phase(
    phase: int,
    options: TrainOptions,
    trainee: Trainee[ThiefCloud | UNet],
    batches: TrainingBatches,
    criterion: RestorationLoss,
    scenes: Sequence[Scene],
    folder: RunFolder,
    saved: Mapping[str, Any] | None,
) -> None:
    """Train one phase from where `trainee.progress` says it is; `saved` is what a resumed optimizer needs."""
    epochs = (options.epochs_frozen, options.epochs_tunable)[phase]
    if trainee.progress.epoch >= epochs:
        return
    rate = (options.lr_frozen, options.lr_tunable)[phase]
    batch_of, steps = batches.of_phase(phase, (options.batch_frozen, options.batch_tunable)[phase])
    model, progress = trainee.model, trainee.progress
    if PHASES[phase] == "frozen":
        model.freeze_prior()
    else:
        model.tune_prior()
        if progress.epoch == 0 and options.epochs_frozen:
            start_from_best_frozen(trainee, folder)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    trainee.begin_phase(torch.optim.Adam(learning, lr=rate, fused=fuses(trainee.world.device)))
    if saved and progress.epoch:  # else the phase begins, with an optimizer of its own
        trainee.resume_optimizer(saved)
    if model.veil is not None and progress.step == 0:
        trainee.save_last(folder.last)  # so that an interruption of the first epochs does not cost the veil

    while progress.epoch < epochs:
        count = min(options.validate_every, epochs - progress.epoch)
        losses = trainee.train_steps(
            count * steps,
            batch_of,
            lambda network, batch: losses_of(network, batch, criterion),
            lambda step: cosine(rate, options.lr_end, step // steps / epochs),
            first=progress.epoch * steps,
            title=f"SCPM {PHASES[phase]}, epoch {progress.epoch} of {epochs}",
        )
        progress.epoch += count
        finish_epochs(trainee, folder, scenes, losses)


def new_model(options: TrainOptions) -> ThiefCloud | UNet:
    """The network to begin with: from a file, or at random with its prior from a file."""
    if options.pretrained is not None:
        return thiefcloud.load(options.pretrained)
    torch.manual_seed(options.seed)
    prior = new_prior(options)
    torch.manual_seed(options.seed)  # whatever the prior, the rest begins alike
    ways = {"residual": options.residual, "veil": options.veil > 0}
    return ThiefCloud(prior, **ways) if options.network == "thiefcloud" else UNet(**ways)


def in_force(options: TrainOptions) -> dict[str, Any]:
    """The options as files of weights note them: without those that weights to begin with have decided before."""
    noted = plain(options)
    return noted if options.pretrained is None else {name: noted[name] for name in noted if name not in BROUGHT_ALONG}


def fit(veil: Veil, data: Data, options: TrainOptions, world: World) -> None:
    """Fit the veil; every process does the same."""
    looks = Looks(data, seed=options.seed, device=world.device, opaque=options.opaque)
    error = fit_veil(veil, looks, steps=options.veil, seed=options.seed, show_progress=world.is_main)
    if world.is_main:
        print(f"taking the veil away leaves the training images with a root mean square error of {error:.4f}")


def new_prior(options: TrainOptions) -> SCPM | NoPrior:
    """The prior to begin with: from a file, untrained, or none."""
    if options.no_prior or options.network == "unet":
        return NoPrior()
    return SCPM() if options.untrained_prior else scpm.load(options.prior)


def announce(options: TrainOptions, data: Data, world: World) -> None:
    """Say which files are used, and how to name others."""
    if world.is_main:
        print(data.note)
        if options.pretrained is not None:
            print(f"weights to begin with: {options.pretrained}")
        elif not options.no_prior and options.network == "thiefcloud":
            print("prior: untrained" if options.untrained_prior else f"prior: {options.prior}")
        if options.folder == SAMPLE:
            print("these are the sample chips; name a real data set with --dataset NAME --root DIR (see --help)")


def start_from_best_frozen(trainee: Trainee[ThiefCloud | UNet], folder: RunFolder) -> None:
    """Load the best weights of the frozen phase, kept under a name that the tunable phase does not touch."""
    frozen = folder.path / FROZEN
    if trainee.world.is_main and not frozen.exists():
        write_atomically(frozen, lambda temporary: shutil.copyfile(folder.best, temporary))
    trainee.world.barrier()
    load_into(trainee.model, frozen)
    if trainee.averaged is not None:
        load_into(trainee.averaged.module, frozen)


def losses_of(model: nn.Module, batch: Batch, criterion: RestorationLoss) -> dict[str, Tensor]:
    """The losses of a batch."""
    cloudy, clear = batch
    return criterion(model(cloudy), clear)


def cosine(start: float, end: float, share: float) -> float:
    """Learning rate after a share of the phase, falling from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def finish_epochs(
    trainee: Trainee[ThiefCloud | UNet], folder: RunFolder, scenes: Sequence[Scene], losses: dict[str, float]
) -> None:
    """Validate, save and report."""
    progress, model = trainee.progress, trainee.best_model
    scores = validate(model, scenes, trainee.world)
    means = {f"train/{name}": value for name, value in losses.items()}
    progress.history.append({"phase": progress.phase, "epoch": progress.epoch, "step": progress.step, **means, **scores})
    if scores["val/psnr"] > progress.best:
        progress.best = scores["val/psnr"]
        trainee.save_best(folder.best)
    if PHASES[progress.phase] == "frozen" and trainee.world.is_main:
        (folder.path / FROZEN).unlink(missing_ok=True)  # of a tunable phase that a longer frozen one now precedes
    folder.record(progress.step, progress.history, lambda: pictures(model, scenes))
    trainee.save_last(folder.last)
    if trainee.world.is_main:
        print(
            f"SCPM {PHASES[progress.phase]}, epoch {progress.epoch}: loss {losses['loss']:.4f}, "
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
