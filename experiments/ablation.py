"""Test the paper's central claim: a cloud prior that is trained, then tuned, helps.

    python experiments/ablation.py --dataset rice1 --root DIR --priors short.pt long.pt
    python experiments/ablation.py --dataset rice1 --root DIR --preset quick --epochs 24
    python experiments/ablation.py --out runs/ablation --report-only

The first command takes a GPU. The second is short enough for a CPU. The third reports the runs
that are finished so far.

All trainings take equally many steps and differ in the prior alone. Each arm is trained on each
fold and scored on the fold's test images. The report compares the arms image by image.

After an interruption, start the same command again: it skips finished runs and resumes the others.
--jobs N works on N runs at a time. Two machines can divide the work, each with its own --arms or
--seeds.

Files in --out: fold-N/train.txt and test.txt; fold-N/ARM/ with the files of train.py, test/ of
test.py and thickness.json; ablation.json and ablation.md.
"""

import os

from cloudkit.errors import UserError
from cloudkit.script.command_line import run_script
from prior_ablation.jobs import complete_all
from prior_ablation.options import AblationOptions, parse
from prior_ablation.report import check_reference, summarize, write
from prior_ablation.runs import plan_runs


def main(options: AblationOptions) -> None:
    """Complete all runs, then report."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "torchrun starts several processes, expected one: start python without it. For several "
            "GPUs, start it once each with --device cuda:N and other --arms or --seeds."
        )

    if not options.report_only:
        runs = plan_runs(options)
        check_reference(options.reference, [run.arm.name for run in runs])
        complete_all(runs, options)

    print(write(options.out, summarize(options.out, options.reference)))
    print(f"written to {options.out}")


if __name__ == "__main__":
    run_script(main, lambda arguments: parse(arguments, __doc__))
