"""Test the paper's central claim, that a cloud prior which was trained, then tuned, helps: trainings that differ in it alone.

    python ThiefCloud/ablation.py --dataset rice1 --root DIR --priors short.pt long.pt --out runs/ablation         # on a GPU
    python ThiefCloud/ablation.py --dataset rice1 --root DIR --preset quick --epochs 24 --arms untrained-frozen trained-frozen
    python ThiefCloud/ablation.py --out runs/ablation --report-only                          # report what is finished so far

Each arm is trained on each fold with equal steps, scored on the fold's test images, and compared image by image. Start the same
command again after an interruption: what is finished is kept, what was begun goes on. Two processes may share the work, each with
other --arms or --seeds.

Writes to --out: fold-N/train.txt and test.txt; fold-N/ARM/, the folder of a run of train.py, with test/ of test.py and
sight.json; ablation.json and ablation.md.
"""

import os
from pathlib import Path

from cloudkit.cli import run
from cloudkit.errors import UserError
from thiefcloud.ablation.options import AblationOptions, parse
from thiefcloud.ablation.report import check_reference, summary, write
from thiefcloud.ablation.runs import carry_out, planned, start, state_of

TRAIN, TEST = (Path(__file__).with_name(name) for name in ("train.py", "test.py"))


def main(options: AblationOptions) -> None:
    """Do all runs that are not finished, then report."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "torchrun starts several processes, expected one: start python without it; once for each GPU, if you like, with "
            "--device cuda:N and other --arms or --seeds each."
        )
    if not options.report_only:
        do_runs(options)
    print(write(options.out, summary(options.out, options.reference)))
    print(f"written to {options.out}")


def do_runs(options: AblationOptions) -> None:
    """Train and score every arm on every fold with every seed."""
    runs = planned(options)
    check_reference(options.reference, [run.arm.name for run in runs])
    for number, each in enumerate(runs, start=1):
        print(f"run {number} of {len(runs)}: {each.title} ({state_of(each)})", flush=True)
        carry_out(each, options, lambda arguments: start(TRAIN, arguments), lambda arguments: start(TEST, arguments))


if __name__ == "__main__":
    run(main, lambda arguments: parse(arguments, __doc__))
