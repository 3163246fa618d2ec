"""Write the lists of names in data/splits/.

    python data/make_splits.py

Each list has one name a line. It fits --split and --held-out of train.py, and --split of test.py.
"""

from dataclasses import dataclass
from pathlib import Path

from cloudkit.files import write_text
from cloudkit.folders import require_folder
from cloudkit.imaging.finding import natural_key
from cloudkit.script.command_line import ROOT, parser, run_script
from trainkit.data.datasets import DATASETS
from trainkit.data.splits import blocks_order, hashed_order

HASHED = "in the order of the SHA-256 of the name are the test set"
BLOCKS = "are the test set, in blocks of ten that follow the SHA-256 of their number"


@dataclass(frozen=True)
class SplitsOptions:
    """Options of the script."""

    out: Path = ROOT / "data" / "splits"
    """Folder for the lists; existing ones are replaced. Default: data/splits."""


def main(options: SplitsOptions) -> None:
    """Write every list."""
    require_folder(options.out)
    lists = {**rice_lists(), **satehaze_lists()}
    for name, (comment, names) in lists.items():
        write_text(options.out / name, "\n".join((f"# {comment}", *names, "")))
    print(f"{len(lists)} lists in {options.out}")


def rice_lists() -> dict[str, tuple[str, list[str]]]:
    """Return the comment and the names of each list of RICE, by two rules for want of a split."""
    lists = {}
    for dataset in ("rice1", "rice2"):
        pairs, test = DATASETS[dataset].pairs, DATASETS[dataset].test_count
        names = list(map(str, range(pairs)))
        first = f"the first {test} of the names 0 to {pairs - 1}"

        for convention, ordered, rule in (
            ("hashed", hashed_order(names), HASHED),
            ("blocks", blocks_order(names), BLOCKS),
        ):
            for part, members in (("train", ordered[test:]), ("test", ordered[:test])):
                comment = f"{dataset}, {part}, {len(members)} names: {first} {rule}."
                members.sort(key=natural_key)
                lists[f"{dataset}-{convention}-{part}.txt"] = (comment, members)
    return lists


def satehaze_lists() -> dict[str, tuple[str, list[str]]]:
    """Return the comment and the names of each list of SateHaze1k, by its official parts."""
    lists = {}
    for level in ("thin", "moderate", "thick"):
        start = 1
        for part, count in (("train", 320), ("valid", 35), ("test", 45)):
            comment = (
                f"satehaze1k-{level}, {part}, {count} names: as the set's own folders have them."
            )
            names = [f"{part}/{number}" for number in range(start, start + count)]
            lists[f"satehaze1k-{level}-{part}.txt"] = (comment, names)
            if level != "moderate":  # its parts all begin at 1
                start += count
    return lists


if __name__ == "__main__":
    run_script(main, parser(SplitsOptions, __doc__))
