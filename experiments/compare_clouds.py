"""Compare the clouds of real pairs with simulated ones, by numbers.

    python experiments/compare_clouds.py --dataset rice1 --root DIR
    python experiments/compare_clouds.py --dataset rice2 --root DIR --split checkpoints/recipes/rice2-train.txt --clouds.slope 1.7 4.2

Both kinds are measured by the same estimate: the second lies over the clear images of the same
pairs. A row of the table has the mean of a statistic over the images, and its standard deviation.
Simulated clouds should vary as much as real ones, and around the same mean.
"""  # noqa: E501

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor

from cloud_statistics import CLASSES, cloud_statistics
from cloudkit.files import write_json
from cloudkit.processes import Processes
from cloudkit.script.checks import require_seed
from cloudkit.script.command_line import RUNS, parser, plain, run_script
from cloudkit.script.each_image import for_each_image, refuse_left_out
from cloudkit.script.peak import PeakOptions
from scpm import CloudOptions, simulate_clouds
from trainkit.data.mixture import SourceName, find_pairs
from trainkit.data.scenes import PairScenes, Scene
from trainkit.data.splits import SplitLists

_FEWEST = 0.1  # fraction of cloudy pixels of an image that counts
STATISTICS = (*CLASSES, "brightness", "blue excess", "sharpness", "slope")
Row = dict[str, float]


@dataclass(frozen=True)
class CompareOptions(PeakOptions):
    """Options of the comparison."""

    root: Path
    """Folder of the dataset, or its parent."""
    dataset: SourceName = "folder"
    """Name of a published dataset as its archive unpacks, or "folder" for your own pairs."""
    split: Path | None = None
    """Compare only the images that this file lists, one name a line. Default: the training part."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """Ranges of the simulated clouds."""
    seed: int = 1
    """Seed of the simulated clouds."""
    out: Path = RUNS / "clouds.json"
    """Write all means and deviations to this file."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        require_seed(seed=self.seed)
        if self.dataset == "clear":
            raise ValueError("--dataset clear holds no cloud; name a dataset of pairs.")


def main(options: CompareOptions) -> None:
    """Measure all pairs under their real and under a simulated cloud, then print the table."""
    lists = SplitLists(split=options.split)
    splits = find_pairs(options.dataset, options.root, lists, options.peak)
    scenes = PairScenes(splits.train + splits.val)

    outcomes = for_each_image(
        range(len(scenes)),
        lambda index: measure(scenes[index], options.seed + index, options.clouds),
        Processes(0, 1, torch.device("cpu")),
        title="measuring",
        name=lambda index: scenes.names[index],
    )
    measured = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    real = [rows[0] for rows in measured if is_cloudy(rows[0])]
    simulated = [rows[1] for rows in measured if is_cloudy(rows[1])]

    table = [(name, describe(real, name), describe(simulated, name)) for name in STATISTICS]
    headers = ("statistic", f"real, {len(real)}", f"simulated, {len(simulated)}")
    print(splits.note)
    print(tabulate(table, headers, tablefmt="github"))
    summary = {"real": summarize(real), "simulated": summarize(simulated)}
    write_json(options.out, {**summary, "options": plain(options)})
    refuse_left_out(outcomes)


def measure(scene: Scene, seed: int, clouds: CloudOptions) -> tuple[Row, Row]:
    """Return the statistics of a pair, and those of its clear image under a simulated cloud."""
    simulated: Tensor = simulate_clouds(scene.truth[None], [seed], clouds).cloudy[0]
    return cloud_statistics(scene), cloud_statistics(scene._replace(cloudy=simulated))


def is_cloudy(row: Row) -> bool:
    """Tell whether an image shows enough cloud to count."""
    return 1 - row["clear"] >= _FEWEST


def summarize(rows: Sequence[Row]) -> dict[str, dict[str, float] | None]:
    """Return mean and standard deviation of each statistic over the images that show it.

    Returns:
        None for those that no image shows.
    """
    summary: dict[str, dict[str, float] | None] = {}
    for name in STATISTICS:
        values = torch.tensor([row[name] for row in rows if math.isfinite(row[name])])
        deviation = float(values.std()) if len(values) > 1 else 0.0
        found = {"mean": float(values.mean()), "deviation": deviation}
        summary[name] = found if len(values) else None
    return summary


def describe(rows: Sequence[Row], name: str) -> str:
    """Return a cell of the table."""
    entry = summarize(rows)[name]
    if entry is None:
        return "-"
    return f"{entry['mean']:.3f} ± {entry['deviation']:.3f}"


if __name__ == "__main__":
    run_script(main, parser(CompareOptions, __doc__))
