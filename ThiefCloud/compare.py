"""Put the results of several methods into one table.

    python ThiefCloud/compare.py runs/ours/metrics.json runs/theirs/metrics.json
    python ThiefCloud/compare.py */metrics.json --format latex --protocol plain --intervals

Each file is a metrics.json of test.py, which scores any method's images with --restored DIR --method NAME.
"""

import sys

from cloudkit.cli import parser, run
from cloudkit.errors import UserError
from cloudkit.scoring.comparison import doubts, read_lines, render
from thiefcloud.options_trained import CompareOptions


def main(options: CompareOptions) -> None:
    """Print the table, and what it must not be used for."""
    lines = read_lines(options.files)
    if options.protocol != "all":
        lines = [line for line in lines if line.protocol == options.protocol]
    if not lines:
        raise UserError(
            f"no file has scores under the protocol {options.protocol}; run test.py with --protocol {options.protocol}."
        )
    print(render(lines, options.format, intervals=options.intervals))
    for doubt in doubts(lines):
        print(f"warning: {doubt}", file=sys.stderr)


if __name__ == "__main__":
    run(main, parser(CompareOptions, __doc__))
