"""Train SCPM, the cloud prior: it learns to see cloud thickness from clear images under simulated clouds.

    python SCPM/src/train_cd.py                                   # the sample chips, a few minutes on two CPU cores
    python SCPM/src/train_cd.py --clear DIR --out runs/my-scpm    # your clear images, the paper's recipe
    python SCPM/src/train_cd.py --mixture FILE --root DIR         # the clear images of several data sets, as the file says
    python SCPM/src/train_cd.py --pairs DIR                       # cloudy/ and thickness/ made beforehand
    python SCPM/src/train_cd.py --out runs/my-scpm --resume       # go on after an interruption
    torchrun --nproc-per-node 2 SCPM/src/train_cd.py --clear DIR  # two GPUs

The run's folder holds best.pt (for ThiefCloud/train.py --prior), last.pt, options.json, history.json and TensorBoard records.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import scpm
from cloudkit.batches import ImageStore, Sampler
from cloudkit.cli import plain, run
from cloudkit.distributed import World, join_world
from cloudkit.panels import side_by_side
from cloudkit.runs import LAST, RunFolder, check_folder, training_parser
from cloudkit.scenes import Scene, check_scenes, mean_scores
from cloudkit.training import Mixed, Trainee, fuses
from scpm import SCPM
from scpm.options import OUT, PRESETS, PriorTrainOptions
from scpm.scoring import score_thickness

Batch = tuple[Tensor, Tensor]  # cloudy (N, 3, H, W) and thickness (N, 1, H, W)


def main(options: PriorTrainOptions) -> None:
    """Train, validating and saving every `save_every` steps."""
    with join_world(options.device) as world:
        if world.is_main:  # the others would look when it may already be made
            check_folder(options.out, OUT, resume=options.resume)
        torch.manual_seed(options.seed)
        model = SCPM().to(world.device)
        batch_of, validation = open_data(options, world)
        check_scenes(validation, world, smallest=1)
        mixed = Mixed(options.precision, world.device)
        trainee = Trainee("scpm", model, model.config, mixed=mixed, ema=options.ema, world=world, options=plain(options))
        last = (options.out or OUT) / LAST
        saved = trainee.resume(last) if options.resume and last.exists() else None
        folder = RunFolder(options.out, OUT, options, resume=options.resume, world=world)
        trainee.begin_phase(make_optimizer(options, model))
        if saved:
            trainee.resume_optimizer(saved)

        progress = trainee.progress
        while progress.step < options.steps:
            count = min(options.save_every, options.steps - progress.step)
            losses = trainee.train_steps(
                count,
                batch_of,
                losses_of,
                lambda step: options.lr * (1 - step / options.steps) ** 0.9,
                first=progress.step,
                title=f"SCPM, step {progress.step} of {options.steps}",
            )
            scores = validate(trainee.best_model, validation, world)
            progress.history.append({"step": progress.step, "train/loss": losses["loss"], **scores})
            if -scores["val/mae"] > progress.best:
                progress.best = -scores["val/mae"]
                trainee.save_best(folder.best)
            folder.record(progress.step, progress.history, lambda: pictures(trainee.best_model, validation))
            trainee.save_last(folder.last)
            if world.is_main:
                print(
                    f"step {progress.step}: loss {losses['loss']:.4f}, validation MAE {scores['val/mae']:.4f}, "
                    f"correlation {scores['val/correlation']:.3f}"
                )
        folder.close()
        if world.is_main:
            print(f"best validation MAE {-progress.best:.4f}: {folder.best}")


def open_data(options: PriorTrainOptions, world: World) -> tuple[Callable[[int], Batch], Sequence[Scene]]:
    """The batch of any step, and the validation scenes."""
    data = scpm.open_prior_data(options)
    if world.is_main:
        print(data.note)
        if options.clear is None and options.pairs is None and options.mixture is None:
            print("these are the sample chips; name your own images with --clear DIR (clear ones) or --pairs DIR")

    files = list(dict.fromkeys(sample.files for sample in data.train))
    numbers = {paths: number for number, paths in enumerate(files)}
    bands = (3, 1)[: len(files[0])]
    store = ImageStore(files, bands, options.crop, world.device, store=options.store, show_progress=world.is_main)
    if world.is_main:
        print(store.note)
    sampler = Sampler(len(data.train), options.batch, seed=options.seed, phase=0, world=world)

    def batch_of(step: int) -> Batch:
        draws = sampler.draws(step)
        samples = [data.train[draw.index] for draw in draws]
        crops = store.crops([replace(draw, index=numbers[samples[n].files]) for n, draw in enumerate(draws)])
        if options.pairs is not None:
            return crops[0], crops[1]

        cloudy, thickness = crops[0], torch.zeros_like(crops[0][:, :1])
        if covered := [number for number, sample in enumerate(samples) if sample.simulated]:
            clouds = data.simulate(cloudy[covered], [draws[number].seed() for number in covered])
            cloudy[covered], thickness[covered] = clouds
        return cloudy, thickness

    return batch_of, data.val


def make_optimizer(options: PriorTrainOptions, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the run; its learning rate is set at every step."""
    fused = fuses(next(model.parameters()).device)
    if options.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=options.lr, fused=fused)
    return torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=1e-6, fused=fused)


def losses_of(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The paper's loss: L1 on the thickness map."""
    cloudy, thickness = batch
    return {"loss": F.l1_loss(model(cloudy).thickness, thickness)}


def validate(model: SCPM, scenes: Sequence[Scene], world: World) -> dict[str, float]:
    """Mean absolute error and correlation of the thickness maps of whole images."""

    def score(scene: Scene) -> dict[str, float]:
        scores = score_thickness(scpm.detect(model, scene.cloudy), scene.truth)
        return {f"val/{name}": value for name, value in scores.items()}

    return mean_scores(scenes, score, world)


def pictures(model: SCPM, scenes: Sequence[Scene], count: int = 4) -> dict[str, Tensor]:
    """Panels for TensorBoard, of the first scenes."""
    panels = {}
    for index in range(min(count, len(scenes))):
        scene = scenes[index]
        found = scpm.detect(model, scene.cloudy)
        panels[scene.name] = side_by_side({"cloudy": scene.cloudy, "thickness": found, "true thickness": scene.truth})
    return panels


def preset_of(given: Mapping[str, str]) -> str:
    """Quick for the sample chips, else the paper's recipe."""
    return given.get("preset", "paper" if given.keys() & {"clear", "pairs", "mixture"} else "quick")


if __name__ == "__main__":
    run(main, training_parser(PriorTrainOptions, PRESETS, preset_of, OUT, __doc__))
