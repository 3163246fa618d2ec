"""Train ThiefCloud as in the paper: with the cloud prior SCPM frozen, then tunable.

An inversion may be trained before (--preset inversion).

    # The sample chips, minutes on two CPU cores:
    python ThiefCloud/train.py
    # The paper's recipe:
    python ThiefCloud/train.py --dataset rice1 --root DIR --prior FILE --out runs/rice1
    # Better: an inversion before the network.
    python ThiefCloud/train.py --dataset rice1 --root DIR --prior FILE --preset inversion
    # Your own pairs, quickly:
    python ThiefCloud/train.py --dataset folder --root DIR --prior FILE --preset quick
    # Go on after an interruption:
    python ThiefCloud/train.py --out runs/rice1 --resume
    # Two GPUs:
    torchrun --nproc-per-node 2 ThiefCloud/train.py --dataset rice1 --root DIR ...

The run's folder holds best.pt (for test.py and predict.py), last.pt, options.json, history.json and
TensorBoard records. inversion.pt and frozen.pt hold the best weights at the end of these phases,
with which the next one begins.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

import thiefcloud
from cloudkit.files import write_atomically
from cloudkit.imaging.panels import side_by_side
from cloudkit.processes import Processes, join_processes
from cloudkit.script.command_line import SAMPLE, run_script
from cloudkit.script.peak import peak_note
from thiefcloud import RemovalNetwork, restore, restore_and_detect
from thiefcloud.data.batches import CloudyCrops, WholeImages
from thiefcloud.data.datasets import Data, open_data
from thiefcloud.inference.released import path_of
from thiefcloud.inference.weights import load_into
from thiefcloud.paths import OUT
from thiefcloud.training.even_fit import fit_even
from thiefcloud.training.losses import RestorationLoss
from thiefcloud.training.options import PRESETS, TrainOptions
from thiefcloud.training.phases import Phase, phases_of, prepare
from thiefcloud.training.start import describe_start, new_model, options_in_force
from trainkit.data.sampling import batch_loader
from trainkit.data.scenes import Scene, check_scenes, mean_scores
from trainkit.scoring.metrics import UNIFORM_SIZE, psnr, ssim
from trainkit.training.precision import MixedPrecision, has_fused_optimizer
from trainkit.training.run import Run, training_parser
from trainkit.training.trainer import Trainer


def main(options: TrainOptions) -> None:
    """Train all phases, validating and saving every `validate_every` epochs."""
    with join_processes(options.device) as processes, Run(options, OUT, processes) as run:
        # Find the images. Read those of validation once, so that a damaged one shows now.
        data = open_data(options)
        data.require("train")
        data.require("val")
        check_scenes(data.val, processes, smallest=UNIFORM_SIZE)

        # Build the network, and what trains it.
        model = thiefcloud.load(run.last) if run.goes_on else new_model(options)
        announce(options, data, run)
        criterion = RestorationLoss(
            options.pixel, options.perceptual, options.vgg, thickness_weight=options.thickness
        )
        criterion.to(processes.device)
        crops = CloudyCrops(
            data,
            crop=options.crop,
            store=options.store,
            processes=processes,
            opaque=options.opaque,
            jitter=options.jitter,
            odd=options.odd,
            augment=options.augment,
            hide_prior=options.hide_prior,
            keep_overlay=options.keep_overlay,
        )
        if processes.is_main:
            print(crops.note)
        trainer = Trainer(
            model.kind,
            model.to(processes.device),
            model.config,
            precision=MixedPrecision(options.precision, processes.device),
            ema=options.ema,
            processes=processes,
            options=options_in_force(options),
        )
        run.restore(trainer)
        run.open()

        # Fit the coarsest part of a new inversion, one gain and offset for the whole image.
        is_new = options.pretrained is None and not run.goes_on
        if options.epochs_inversion and options.even_steps and is_new:
            fit_coarsest(model, data, options, processes)

        # Train phase by phase.
        begun = trainer.progress.step
        phases = phases_of(options, model)
        for number in range(trainer.progress.phase, len(phases)):
            train_phase(phases, number, options, trainer, crops, criterion, data.val, run)
            trainer.progress.phase, trainer.progress.epoch = number + 1, 0

        if processes.is_main:
            if trainer.progress.step == begun:
                print("nothing left to train; for more, give more epochs, as --epochs-tunable")
            print(f"best validation PSNR {trainer.progress.best:.2f} dB: {run.best}")


def train_phase(
    phases: Sequence[Phase],
    number: int,
    options: TrainOptions,
    trainer: Trainer[RemovalNetwork],
    crops: CloudyCrops,
    criterion: RestorationLoss,
    scenes: Sequence[Scene],
    run: Run,
) -> None:
    """Train one phase, from the epoch that `trainer.progress` names to its last one."""
    phase = phases[number]
    model, progress, processes = trainer.model, trainer.progress, trainer.processes
    if progress.epoch >= phase.epochs:
        return

    # Begin with the best weights of the phase before.
    if progress.epoch == 0 and progress.history:
        start_from_best(trainer, run, phases)

    # Choose what learns, and its optimizer.
    part, compute_losses = prepare(phase, model, criterion)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    fused = has_fused_optimizer(processes.device)
    optimizer = torch.optim.Adam(learning, lr=phase.lr, fused=fused)
    trainer.begin_phase(optimizer, part, max_gradient=phase.max_gradient)

    sampler = crops.sampler(phase.randomness, phase.batch, seed=options.seed, processes=processes)
    steps = sampler.steps_per_epoch
    while progress.epoch < phase.epochs:
        # Train for some epochs.
        epochs = min(options.validate_every, phase.epochs - progress.epoch)
        first = progress.epoch * steps
        losses = trainer.train_steps(
            batch_loader(crops, sampler.at(range(first, first + epochs * steps))),
            compute_losses,
            lambda step: phase.learning_rate(step, steps, options.lr_end),
            first=first,
            title=f"{phase.title}, epoch {progress.epoch} of {phase.epochs}",
        )
        progress.epoch += epochs

        # Validate, save and report.
        finish_epochs(phase, trainer, run, scenes, losses)


def finish_epochs(
    phase: Phase,
    trainer: Trainer[RemovalNetwork],
    run: Run,
    scenes: Sequence[Scene],
    losses: dict[str, float],
) -> None:
    """Validate, keep the best weights, save the state and report."""
    progress, model, is_main = trainer.progress, trainer.best_model, trainer.processes.is_main
    scores = validate(model, scenes, trainer.processes)
    record: dict[str, float] = {
        "phase": progress.phase,
        "epoch": progress.epoch,
        "step": progress.step,
    }
    record |= {f"train/{name}": value for name, value in losses.items()}
    progress.history.append(record | scores)

    if scores["val/psnr"] > progress.best:
        progress.best = scores["val/psnr"]
        trainer.save_best(run.best)
    if is_main:
        # This phase goes on, by --resume with more epochs, so its end is no longer the end.
        kept_weights(phase, run).unlink(missing_ok=True)
    run.record(progress.step, progress.history, lambda: pictures(model, scenes))
    trainer.save_last(run.last)

    if is_main:
        print(
            f"{phase.title}, epoch {progress.epoch}: loss {losses['loss']:.4f}, "
            f"validation PSNR {scores['val/psnr']:.2f} dB, SSIM {scores['val/ssim']:.4f}"
        )


def validate(
    model: RemovalNetwork, scenes: Sequence[Scene], processes: Processes
) -> dict[str, float]:
    """Return PSNR and SSIM of whole validation images."""

    def score(scene: Scene) -> dict[str, float]:
        restored = restore(model, scene.cloudy)[None]
        clear = scene.truth[None]
        return {"val/psnr": float(psnr(restored, clear)), "val/ssim": float(ssim(restored, clear))}

    return mean_scores(scenes, score, processes)


def start_from_best(trainer: Trainer[RemovalNetwork], run: Run, phases: Sequence[Phase]) -> None:
    """Load the best weights so far.

    They are kept under the name of the phase that ended, in a file that this phase does not touch.
    """
    ended = phases[int(trainer.progress.history[-1]["phase"])]
    kept = kept_weights(ended, run)
    if trainer.processes.is_main and not kept.exists():
        write_atomically(kept, lambda temporary: shutil.copyfile(run.best, temporary))
    trainer.processes.barrier()

    load_into(trainer.model, kept)
    if trainer.averaged is not None:
        load_into(trainer.averaged.module, kept)


def kept_weights(phase: Phase, run: Run) -> Path:
    """Return the file with the best weights at the end of a phase."""
    return run.path / f"{phase.name}.pt"


def fit_coarsest(
    model: RemovalNetwork, data: Data, options: TrainOptions, processes: Processes
) -> None:
    """Fit gain and offset of whole images. Every process does the same."""
    assert model.inversion is not None
    images = WholeImages(data, seed=options.seed, device=processes.device, opaque=options.opaque)
    error = fit_even(
        model.inversion,
        images,
        steps=options.even_steps,
        seed=options.seed,
        show_progress=processes.is_main,
    )
    if processes.is_main:
        print(f"one gain and offset for each image leave a root mean square error of {error:.4f}")


def announce(options: TrainOptions, data: Data, run: Run) -> None:
    """Print the files that are used, and how to name others."""
    if not run.processes.is_main:
        return
    print(data.note)
    if start := describe_start(options):
        print(start)
    # A run that goes on needs neither file any more.
    for weights in () if run.goes_on else (options.pretrained, options.prior):
        if weights is not None and (note := peak_note(path_of(weights), options.peak)):
            print(note)
    if options.folder == SAMPLE:
        print(
            "these are the sample chips; name a real data set with --dataset NAME --root DIR (see "
            "--help)"
        )


def pictures(model: RemovalNetwork, scenes: Sequence[Scene], count: int = 4) -> dict[str, Tensor]:
    """Return panels of the first scenes, for TensorBoard."""
    panels = {}
    for index in range(min(count, len(scenes))):
        scene = scenes[index]
        restored, thickness = restore_and_detect(model, scene.cloudy)
        images = {
            "cloudy": scene.cloudy,
            "thickness": thickness,
            "restored": restored,
            "clear": scene.truth,
        }
        panels[scene.name] = side_by_side(images)
    return panels


def preset_of(given: Mapping[str, str]) -> str:
    """Choose the preset: quick for simulated clouds, else the paper's recipe."""
    simulated = given.get("dataset", "simulated") == "simulated"
    return given.get("preset", "quick" if simulated else "paper")


if __name__ == "__main__":
    run_script(main, training_parser(TrainOptions, PRESETS, preset_of, OUT, __doc__))
