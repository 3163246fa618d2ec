"""Measure on this machine how fast ThiefCloud restores and trains, and the memory it needs.

    python benchmarks/speed.py            # 15 minutes on two CPU cores
    python benchmarks/speed.py --quick    # a first look, under a minute
    python benchmarks/speed.py --parts inference breakdown --out speed.json
    python benchmarks/speed.py --parts training --seconds 600    # ten minutes for each phase
    python benchmarks/speed.py --parts large    # memory for one 2048x2048 image on the CPU

Two settings are compared. "default" is thiefcloud.restore and the training of ThiefCloud/train.py.
"naive" runs the same weights in the simplest way: eager, contiguous memory, torchvision's
deformable convolution, all three outputs computed. The settings alternate in one run, and numbers
are medians. benchmarks/README.md explains the columns.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.speedkit.breakdown import breakdown
from benchmarks.speedkit.ceilings import best_convolutions, ceilings
from benchmarks.speedkit.inference import inference, large
from benchmarks.speedkit.measuring import describe_machine
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import load_network, save_untrained
from benchmarks.speedkit.tables import markdown
from benchmarks.speedkit.training import training
from cloudkit.files import write_json
from cloudkit.processes import choose_device
from cloudkit.script.command_line import parser, run_script


def main(options: SpeedOptions) -> None:
    """Measure each section and print its table, then write all results."""
    device = choose_device(options.device)
    machine = describe_machine(device)
    results: dict[str, Any] = {"machine": machine, "quick": options.quick}
    print(", ".join(f"{name} {value}" for name, value in machine.items()))

    def add(part: str, title: str, rows: list[dict[str, Any]]) -> None:
        results[part] = rows
        print(f"\n### {title}\n\n{markdown(rows)}", flush=True)

    with TemporaryDirectory() as folder:
        weights = options.checkpoint or save_untrained(Path(folder) / "untrained.pt")
        load_network("naive", weights)  # reject weights that cannot be compared before measuring

        if "ceilings" in options.parts:
            add("ceilings", "Ceilings", ceilings(options, device))
        if "inference" in options.parts:
            best = best_convolutions(results.get("ceilings", []))
            add("inference", "Restoring", inference(options, device, weights, best))
        if "training" in options.parts:
            add("training", "Training steps", training(options, device, weights))
        if "breakdown" in options.parts:
            rows = breakdown(options, device, weights)
            add("breakdown", "Time of each part in restoring", rows)
        if "large" in options.parts:
            add("large", "One large image on the CPU", large(options, weights))

    if options.out is not None:
        write_json(options.out, results)
        print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    run_script(main, parser(SpeedOptions, __doc__))
