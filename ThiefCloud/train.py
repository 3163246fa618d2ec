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

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
from thiefcloud.data import Batch, Data, TrainingBatches, WholeImages, open_data
from thiefcloud.even_fit import fit_even
from thiefcloud.losses import RestorationLoss
from thiefcloud.options import BROUGHT_ALONG, OUT, PRESETS, TrainOptions, default_prior
from thiefcloud.weights import load_into

PHASES = ("inversion", "frozen", "tunable")
TITLES = ("inversion", "SCPM frozen", "SCPM tunable")
RANDOMNESS = (2, 0, 1)  # number of each phase for the order of its batches; with 0 and 1 the paper's two draw as they always did
WARM_UP, LARGEST_GRADIENT = 100, 1.0  # steps, and norm: of the inversion, which a few large steps can spoil for good
Losses = Callable[[nn.Module, Batch], dict[str, Tensor]]


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
        if options.epochs_inversion and options.pretrained is None and not resuming:
            fit_coarsest(model, data, options, world)

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
    epochs, batch, rate = (
        (options.epochs_inversion, options.batch_inversion, options.lr_inversion),
        (options.epochs_frozen, options.batch_frozen, options.lr_frozen),
        (options.epochs_tunable, options.batch_tunable, options.lr_tunable),
    )[phase]
    model, progress = trainee.model, trainee.progress
    if progress.epoch >= epochs:
        return
    batch_of, steps = batches.of_phase(RANDOMNESS[phase], batch)
    if progress.epoch == 0 and progress.history:
        start_from_best(trainee, folder)
    part, compute_losses = prepare(PHASES[phase], model, criterion)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=rate, fused=fuses(trainee.world.device))
    trainee.begin_phase(optimizer, part, largest_gradient=math.inf if part is None else LARGEST_GRADIENT)
    if saved and progress.epoch:  # else the phase begins, with an optimizer of its own
        trainee.resume_optimizer(saved)

    while progress.epoch < epochs:
        count = min(options.validate_every, epochs - progress.epoch)
        losses = trainee.train_steps(
            count * steps,
            batch_of,
            compute_losses,
            lambda step: cosine(rate, options.lr_end, step // steps / epochs) * warm_up(phase, step),
            first=progress.epoch * steps,
            title=f"{TITLES[phase]}, epoch {progress.epoch} of {epochs}",
        )
        progress.epoch += count
        finish_epochs(trainee, folder, scenes, losses)


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
            print(f"weights to begin with: {options.pretrained}")
        elif not options.no_prior and options.network == "thiefcloud":
            print("prior: untrained" if options.untrained_prior else f"prior: {options.prior or default_prior()}")
        if options.folder == SAMPLE:
            print("these are the sample chips; name a real data set with --dataset NAME --root DIR (see --help)")


def start_from_best(trainee: Trainee[ThiefCloud | UNet], folder: RunFolder) -> None:
    """Load the best weights of the phases before, kept under a name that this phase does not touch."""
    kept = kept_weights(int(trainee.progress.history[-1]["phase"]), folder)
    if trainee.world.is_main and not kept.exists():
        write_atomically(kept, lambda temporary: shutil.copyfile(folder.best, temporary))
    trainee.world.barrier()
    load_into(trainee.model, kept)
    if trainee.averaged is not None:
        load_into(trainee.averaged.module, kept)


def kept_weights(phase: int, folder: RunFolder) -> Path:
    """The file with the best weights at the end of a phase."""
    return folder.path / f"{PHASES[phase]}.pt"


def prepare(phase: str, model: ThiefCloud | UNet, criterion: RestorationLoss) -> tuple[nn.Module | None, Losses]:
    """Set what learns in a phase.

    Returns:
        The part of the network that runs, None for all of it, and the losses of its output.
    """
    model.requires_grad_(True)
    if phase == "tunable":
        model.tune_prior()
    else:
        model.freeze_prior()
    if phase == "inversion":
        assert model.inversion is not None
        model.requires_grad_(False)
        model.inversion.requires_grad_(True)
        return InversionAlone(model), lambda part, batch: {"loss": F.l1_loss(part(batch[0]), batch[1])}
    if model.inversion is not None:
        model.inversion.requires_grad_(False)
    return None, lambda network, batch: criterion(network(batch[0]), batch[1])


class InversionAlone(nn.Module):
    """The inversion of a network with the prior that guides it: cloudy images (N, 3, H, W) to inverted ones."""

    def __init__(self, model: ThiefCloud | UNet) -> None:
        super().__init__()
        assert model.inversion is not None
        self.prior, self.inversion = model.prior, model.inversion

    def train(self, mode: bool = True) -> Self:
        """Leave the prior in eval mode."""
        super().train(mode)
        self.prior.eval()
        return self

    def forward(self, cloudy: Tensor) -> Tensor:
        """Invert, without what the network behind would add."""
        inverted: Tensor = self.inversion(cloudy, self.prior(cloudy))
        return inverted


def cosine(start: float, end: float, share: float) -> float:
    """Learning rate after a share of the phase, falling from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def warm_up(phase: int, step: int) -> float:
    """Factor of the learning rate: the first steps of the inversion are small."""
    return min(1.0, (step + 1) / WARM_UP) if PHASES[phase] == "inversion" else 1.0


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
    if trainee.world.is_main:
        for phase in range(progress.phase, len(PHASES)):  # of a later phase that a longer one now precedes
            kept_weights(phase, folder).unlink(missing_ok=True)
    folder.record(progress.step, progress.history, lambda: pictures(model, scenes))
    trainee.save_last(folder.last)
    if trainee.world.is_main:
        print(
            f"{TITLES[progress.phase]}, epoch {progress.epoch}: loss {losses['loss']:.4f}, "
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
