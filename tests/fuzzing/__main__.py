"""Try damaged files: each must be refused in words, or load soundly.

    python tests/fuzz.py checkpoints --count 500 --seed 0
    python tests/fuzz.py images --count 5000

The same seed gives the same cases, on every machine. A crash, a hang, much memory, another error
or a silent result that is not finite is a fault; it is printed with its number.
"""

import argparse
import sys
import time

from tests.fuzzing import checkpoints, images
from tests.fuzzing.running import Check, run_cases

KINDS: dict[str, Check] = {"checkpoints": checkpoints.check, "images": images.check}


def main() -> int:
    """Run the cases, and return 1 if there are faults."""
    parser = argparse.ArgumentParser(
        "tests/fuzz.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS, help="kind of files")
    parser.add_argument("--count", type=int, default=500, help="number of cases, default 500")
    parser.add_argument("--seed", type=int, default=0, help="seed of all choices, default 0")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, default 0")
    options = parser.parse_args()

    start = time.monotonic()
    report = run_cases(KINDS[options.kind], options.count, seed=options.seed, first=options.first)
    for fault in report.faults:
        print(fault)
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(report.outcomes.items()))
    took = time.monotonic() - start
    print(
        f"{options.count} {options.kind} in {took:.0f} s: {outcomes}; {len(report.faults)} faults"
    )
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
