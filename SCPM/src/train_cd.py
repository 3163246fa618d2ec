"""Train SCPM, the cloud prior: it learns to see cloud thickness under simulated clouds.

    # The sample chips, a few minutes on two CPU cores:
    python SCPM/src/train_cd.py
    # Your clear images, the paper's recipe:
    python SCPM/src/train_cd.py --clear DIR --out runs/my-scpm
    # The clear images of several data sets, as a file says:
    python SCPM/src/train_cd.py --mixture FILE --root DIR
    # Cloudy images and thickness maps made beforehand, in cloudy/ and thickness/:
    python SCPM/src/train_cd.py --pairs DIR
    # The released prior, further on your images:
    python SCPM/src/train_cd.py --clear DIR --pretrained checkpoints/scpm.safetensors
    # Go on after an interruption:
    python SCPM/src/train_cd.py --out runs/my-scpm --resume
    # Two GPUs:
    torchrun --nproc-per-node 2 SCPM/src/train_cd.py --clear DIR

The run's folder holds best.pt (for ThiefCloud/train.py --prior), last.pt, options.json,
history.json and TensorBoard records.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import scpm
from cloudkit.checkpoints import require_rgb
from cloudkit.imaging.panels import side_by_side
from cloudkit.processes import Processes, join_processes
from cloudkit.script.command_line import plain, run_script
from cloudkit.script.peak import peak_note
from scpm import SCPM
from scpm.batches import Batch, PriorCrops
from scpm.data import PriorData, open_prior_data
from scpm.options import PRESETS, PriorTrainOptions
from scpm.paths import OUT
from scpm.scoring import score_thickness
from trainkit.data.sampling import StepSampler, batch_loader
from trainkit.data.scenes import Scene, check_scenes, mean_scores
from trainkit.training.precision import MixedPrecision, has_fused_optimizer
from trainkit.training.run import Run, training_parser
from trainkit.training.trainer import Trainer


def main(options: PriorTrainOptions) -> None:
    """Train, validating and saving every `save_every` steps."""
    with join_processes(options.device) as processes, Run(options, OUT, processes) as run:
        # Build the network.
        torch.manual_seed(options.seed)
        begin = run.last if run.goes_on else options.pretrained
        model = require_rgb(scpm.load(begin), begin) if begin else SCPM()
        model.to(processes.device)

        # Find the images. Read those of validation once, so that a damaged one shows now.
        data = open_prior_data(options)
        announce(options, data, run)
        crops = PriorCrops(
            data,
            crop=options.crop,
            store=options.store,
            processes=processes,
            opaque=options.opaque,
            augment=options.augment,
        )
        if processes.is_main:
            print(crops.note)
        check_scenes(data.val, processes, smallest=1)

        # Begin the training, or go on with it.
        trainer = Trainer(
            "scpm",
            model,
            model.config,
            precision=MixedPrecision(options.precision, processes.device),
            ema=options.ema,
            processes=processes,
            options=plain(options),
        )
        run.restore(trainer)
        run.open()
        trainer.begin_phase(make_optimizer(options, model))

        # Train, validate and save in turns.
        sampler = StepSampler(
            len(crops), options.batch, seed=options.seed, phase=0, processes=processes
        )
        progress, begun = trainer.progress, trainer.progress.step
        while progress.step < options.steps:
            first = progress.step
            last = min(first + options.save_every, options.steps)
            losses = trainer.train_steps(
                batch_loader(crops, sampler.at(range(first, last))),
                compute_losses,
                lambda step: options.lr * (1 - step / options.steps) ** 0.9,
                first=first,
                title=f"SCPM, step {first} of {options.steps}",
            )
            finish_steps(trainer, run, data.val, losses)

        if processes.is_main:
            if progress.step == begun:
                print("nothing left to train; for more, give more --steps")
            print(f"best validation MAE {-progress.best:.4f}: {run.best}")


def compute_losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the paper's loss: L1 on the thickness map."""
    cloudy, thickness = batch
    return {"loss": F.l1_loss(model(cloudy).thickness, thickness)}


def make_optimizer(options: PriorTrainOptions, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of the run. Its learning rate is set at every step."""
    fused = has_fused_optimizer(next(model.parameters()).device)
    if options.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=options.lr, fused=fused)
    return torch.optim.SGD(
        model.parameters(), lr=options.lr, momentum=0.9, weight_decay=1e-6, fused=fused
    )


def finish_steps(
    trainer: Trainer[SCPM], run: Run, scenes: Sequence[Scene], losses: dict[str, float]
) -> None:
    """Validate, keep the best weights, save the state and report."""
    progress, model = trainer.progress, trainer.best_model
    scores = validate(model, scenes, trainer.processes)
    progress.history.append({"step": progress.step, "train/loss": losses["loss"], **scores})

    if -scores["val/mae"] > progress.best:
        progress.best = -scores["val/mae"]
        trainer.save_best(run.best)
    run.record(progress.step, progress.history, lambda: pictures(model, scenes))
    trainer.save_last(run.last)

    if trainer.processes.is_main:
        print(
            f"step {progress.step}: loss {losses['loss']:.4f}, validation MAE "
            f"{scores['val/mae']:.4f}, correlation {scores['val/correlation']:.3f}"
        )


def validate(model: SCPM, scenes: Sequence[Scene], processes: Processes) -> dict[str, float]:
    """Return mean absolute error and correlation of the thickness maps of whole images."""

    def score(scene: Scene) -> dict[str, float]:
        scores = score_thickness(scpm.detect(model, scene.cloudy), scene.truth)
        return {f"val/{name}": value for name, value in scores.items()}

    return mean_scores(scenes, score, processes)


def announce(options: PriorTrainOptions, data: PriorData, run: Run) -> None:
    """Print the images that are used, and how to name others."""
    if not run.processes.is_main:
        return
    print(data.note)
    begin = None if run.goes_on else options.pretrained
    if begin is not None and (note := peak_note(begin, options.peak)):
        print(note)
    if options.clear is None and options.pairs is None and options.mixture is None:
        print(
            "these are the sample chips; name your own images with --clear DIR (clear ones) or "
            "--pairs DIR"
        )


def pictures(model: SCPM, scenes: Sequence[Scene], count: int = 4) -> dict[str, Tensor]:
    """Return panels of the first scenes, for TensorBoard."""
    panels = {}
    for index in range(min(count, len(scenes))):
        scene = scenes[index]
        images = {
            "cloudy": scene.cloudy,
            "thickness": scpm.detect(model, scene.cloudy),
            "true thickness": scene.truth,
        }
        panels[scene.name] = side_by_side(images)
    return panels


def preset_of(given: Mapping[str, str]) -> str:
    """Choose the preset: quick for the sample chips, else the paper's recipe."""
    own_images = given.keys() & {"clear", "pairs", "mixture"}
    return given.get("preset", "paper" if own_images else "quick")


if __name__ == "__main__":
    run_script(main, training_parser(PriorTrainOptions, PRESETS, preset_of, OUT, __doc__))
