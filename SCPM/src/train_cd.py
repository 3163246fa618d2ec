"""Train SCPM, the cloud prior: it learns to see cloud thickness from clear images under simulated clouds.

    python SCPM/src/train_cd.py                                   # the sample chips, a few minutes on two CPU cores
    python SCPM/src/train_cd.py --clear DIR --out runs/my-scpm    # your clear images, the paper's recipe
    python SCPM/src/train_cd.py --pairs DIR                       # cloudy/ and thickness/ made beforehand
    python SCPM/src/train_cd.py --out runs/my-scpm --resume       # go on after an interruption
    torchrun --nproc-per-node 2 SCPM/src/train_cd.py --clear DIR  # two GPUs

The run's folder holds best.pt (for ThiefCloud/train.py --prior), last.pt, options.json, history.json and TensorBoard records.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import scpm
from cloudkit.batches import ImageStore, Sampler
from cloudkit.cli import SAMPLE, plain, run
from cloudkit.datasets import find_clear
from cloudkit.distributed import World, join_world
from cloudkit.pairs import DataError
from cloudkit.panels import side_by_side
from cloudkit.runs import LAST, RunFolder, check_folder, training_parser
from cloudkit.scenes import PairScenes, Scene, check_scenes, mean_scores
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
    simulate = scpm.simulator(options.backend, options.clouds)
    files: list[tuple] = []
    scenes: Sequence[Scene]
    if options.pairs is not None:
        splits = scpm.find_thickness_pairs(options.pairs)
        files, scenes, note = (
            [(p.cloudy, p.clear) for p in splits.train],
            PairScenes(splits.val, truth_bands=1),
            splits.note,
        )
    else:
        root = options.clear or SAMPLE
        parts = find_clear(root)
        files, scenes = (
            [(path,) for path in parts["train"].values()],
            scpm.SimulatedScenes(parts["val"], simulate, "thickness"),
        )
        note = f"{root}: clouds are simulated over {len(files)} clear images, {len(scenes)} others serve for validation"
    if not files or not scenes:
        raise DataError(f"{options.pairs or options.clear or SAMPLE}: expected at least two images to train on.")
    if world.is_main:
        print(note)
        if options.clear is None and options.pairs is None:
            print("these are the sample chips; name your own images with --clear DIR (clear ones) or --pairs DIR")
    bands = (3, 1)[: len(files[0])]
    store = ImageStore(files, bands, options.crop, world.device, store=options.store, show_progress=world.is_main)
    if world.is_main:
        print(store.note)
    sampler = Sampler(len(store), options.batch, seed=options.seed, phase=0, world=world)

    def batch_of(step: int) -> Batch:
        draws = sampler.draws(step)
        crops = store.crops(draws)
        if options.pairs is not None:
            return crops[0], crops[1]
        clouds = simulate(crops[0], [draw.seed() for draw in draws])
        return clouds.cloudy, clouds.thickness

    return batch_of, scenes


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
    return given.get("preset", "paper" if "clear" in given or "pairs" in given else "quick")


if __name__ == "__main__":
    run(main, training_parser(PriorTrainOptions, PRESETS, preset_of, OUT, __doc__))
