"""Write the lists of names in data/splits/.

    python data/make_splits.py

Each list is one convention written out, one name a line, for `--split` and `--held-out` of train.py and `--split` of test.py.
"""

from dataclasses import dataclass
from pathlib import Path

from cloudkit.cli import ROOT, parser, run
from cloudkit.datasets import LAYOUTS
from cloudkit.files import write_text
from cloudkit.images import natural_key
from cloudkit.splits import blocks_order, hashed_order

HASHED = "the first {test} of the names 0 to {last} in the order of the SHA-256 of the name are the test set"
BLOCKS = "the first {test} of the names 0 to {last} are the test set, in blocks of ten that follow the SHA-256 of their number"


@dataclass(frozen=True)
class SplitsOptions:
    """Where the lists go."""

    out: Path = ROOT / "data" / "splits"
    """Folder for the lists; those there are replaced."""


def main(options: SplitsOptions) -> None:
    """Write every list."""
    lists = {**rice_lists(), **satehaze_lists()}
    for name, (comment, names) in lists.items():
        write_text(options.out / name, "".join(f"{line}\n" for line in (f"# {comment}", *names)))
    print(f"{len(lists)} lists in {options.out}")


def rice_lists() -> dict[str, tuple[str, list[str]]]:
    """RICE has no official split: two rules for each of its sets."""
    lists = {}
    for dataset in ("rice1", "rice2"):
        pairs, test = LAYOUTS[dataset].pairs, LAYOUTS[dataset].test_of
        assert test is not None
        names = [str(number) for number in range(pairs)]
        for convention, order, rule in (("hashed", hashed_order, HASHED), ("blocks", blocks_order, BLOCKS)):
            ordered = order(names)
            sentence = rule.format(test=test, last=pairs - 1)
            for part, members in (("train", ordered[test:]), ("test", ordered[:test])):
                comment = f"{dataset}, {part}, {len(members)} names: {sentence}."
                lists[f"{dataset}-{convention}-{part}.txt"] = (comment, sorted(members, key=natural_key))
    return lists


def satehaze_lists() -> dict[str, tuple[str, list[str]]]:
    """SateHaze1k's own parts by their numbers; in moderate, those of valid and test begin at 1 again."""
    lists = {}
    for level in ("thin", "moderate", "thick"):
        starts = (1, 1, 1) if level == "moderate" else (1, 321, 356)
        for part, start, count in zip(("train", "valid", "test"), starts, (320, 35, 45), strict=True):
            comment = f"satehaze1k-{level}, {part}, {count} names: as the set's own folders have them."
            lists[f"satehaze1k-{level}-{part}.txt"] = (comment, [f"{part}/{n}" for n in range(start, start + count)])
    return lists


if __name__ == "__main__":
    run(main, parser(SplitsOptions, __doc__))
