"""Write the tables of README.md and checkpoints/README.md anew, after a change of their facts.

    python checkpoints/tables.py

The facts are the table RELEASED in thiefcloud/inference/released.py, and checkpoints/scores.json:
scores under the protocol plain with 95 % intervals, the options of test.py that give them ("fast"
for --fast), and the day. Only lines between the marks `<!-- table NAME -->` and `<!-- end -->`
change.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudkit.errors import UserError
from cloudkit.files import read_json, write_text
from cloudkit.script.command_line import ROOT, parser, run_script
from thiefcloud.inference.released import RELEASED

_MARKED = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class TablesOptions:
    """Options of the script."""

    root: Path = ROOT
    """Folder of both pages and of checkpoints/scores.json. Default: the repository."""


def main(options: TablesOptions) -> None:
    """Write both pages."""
    for page, text in render(options.root).items():
        write_text(page, text)
        print(f"written to {page}")


def render(root: Path) -> dict[Path, str]:
    """Return the text of each page with its tables made anew.

    Raises:
        UserError: a page has the mark of a table that is unknown, or a table has no mark.
    """
    facts = read_json(root / "checkpoints" / "scores.json")
    files = [(f"`{each.file}`", each.purpose, each.data) for each in RELEASED.values()]
    tables = {
        "overview": _overview(facts),
        "files": _table([("file", "for", "trained on"), *files]),
    }
    for name in dict.fromkeys(row["weights"] for row in facts["scores"]):
        tables[name] = scores_of(facts, name)

    pages: dict[Path, str] = {}
    used: set[str] = set()
    for page in (root / "README.md", root / "checkpoints" / "README.md"):
        text = page.read_text(encoding="utf-8")
        used.update(name for _, name, _ in _MARKED.findall(text))
        if used <= tables.keys():
            pages[page] = _MARKED.sub(lambda found: found[1] + tables[found[2]] + found[3], text)
    if used != tables.keys():
        raise UserError(
            f"the pages mark the tables {', '.join(sorted(used))}, expected "
            f"{', '.join(sorted(tables))}. Write <!-- table NAME --> and <!-- end --> around each."
        )
    return pages


def _overview(facts: Facts) -> str:
    """Return the table of all weights over the images that have a column."""
    columns = {key: about for key, about in facts["images"].items() if "column" in about}
    rows = [["`--checkpoint`", "for", *(about["column"] for about in columns.values())]]
    for name, weights in RELEASED.items():
        for option, purpose in (("", weights.purpose), (" --fast", "the same, seven times faster")):
            cells = dict.fromkeys(columns, "")
            for row in facts["scores"]:
                if (row["weights"], _option(row)) == (name, option) and row["images"] in cells:
                    scores = [_untouched(row), _restored(row)]
                    cells[row["images"]] = " → ".join(filter(None, scores))
            if any(cells.values()):
                rows.append([f"`{name}{option}`", purpose, *cells.values()])
    return _table(rows)


def scores_of(facts: Facts, name: str) -> str:
    """Return the scores of one file with their intervals, and the commands that give them."""
    rows, commands = [["images", "untouched", "restored", "day"]], []
    for row in facts["scores"]:
        if row["weights"] == name:
            about = facts["images"][row["images"]]
            untouched, option = _untouched(row) or "-", _option(row)
            images = about["images"] + (f", `{option.strip()}`" if option else "")
            rows.append([images, untouched, _restored(row, ends=True), row["date"]])
            command = f"python ThiefCloud/test.py --checkpoint {name}{option} {about['test']}"
            commands.append(f"{command.rstrip()}\n")
    return f"{_table(rows)}\n```sh\n{''.join(commands)}```\n"


def _option(row: Facts) -> str:
    """Return the option of test.py with which a row was scored."""
    return " --fast" if row.get("fast") else ""


def _untouched(row: Facts) -> str:
    before = row["untouched"]
    return f"{before['psnr']:.2f} / {_fraction(before['ssim'])}" if before else ""


def _restored(row: Facts, *, ends: bool = False) -> str:
    psnr, low, high = map("{:.2f}".format, row["psnr"])
    ssim, lower, upper = map(_fraction, row["ssim"])
    return f"{psnr} [{low}, {high}] / {ssim} [{lower}, {upper}]" if ends else f"{psnr} / {ssim}"


def _fraction(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [" ".join(["|", *(f"{cell} |".lstrip() for cell in row)]) + "\n" for row in rows]
    return "".join([lines[0], "|" + "---|" * len(rows[0]) + "\n", *lines[1:]])


if __name__ == "__main__":
    run_script(main, parser(TablesOptions, __doc__))
