"""Put the results of several methods into one table.

    python ThiefCloud/compare.py runs/ours/metrics.json runs/theirs/metrics.json
    python ThiefCloud/compare.py */metrics.json --format latex --protocol plain --intervals

Each file is a metrics.json of test.py, which scores any method's images with --restored DIR
--method NAME.
"""

import sys

from cloudkit.errors import UserError
from cloudkit.script.command_line import expand, parser, run_script
from thiefcloud.scoring_options import CompareOptions
from trainkit.scoring.comparison import find_doubts, read_results, render


def main(options: CompareOptions) -> None:
    """Print the table, and warnings about numbers that do not compare."""
    results = read_results(expand(options.files))
    if options.protocol != "all":
        results = [result for result in results if result.protocol == options.protocol]
    if not results:
        raise UserError(
            f"no file has scores under the protocol {options.protocol}; "
            f"run test.py with --protocol {options.protocol}."
        )

    print(render(results, options.format, intervals=options.intervals))
    for doubt in find_doubts(results):
        print(f"warning: {doubt}", file=sys.stderr)


if __name__ == "__main__":
    run_script(main, parser(CompareOptions, __doc__))
