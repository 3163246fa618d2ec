"""Measure on this machine how fast ThiefCloud restores and trains, what memory it takes, and where the time goes.

    python benchmarks/speed.py                                        # 15 minutes on two CPU cores, a GPU should need less
    python benchmarks/speed.py --quick                                # a first look, under a minute
    python benchmarks/speed.py --parts inference shares --out speed.json
    python benchmarks/speed.py --parts training --seconds 600         # sustained for ten minutes a phase
    python benchmarks/speed.py --parts large                          # memory of one 2048x2048 image on the CPU

"default" is what thiefcloud.load and thiefcloud.restore give, and what ThiefCloud/train.py trains. "naive" runs the same weights
in the plainest way: eager, contiguous memory, torchvision's deformable convolution, BatchNorm as it is, all three outputs
computed. Both take turns in one run; numbers are medians. benchmarks/README.md says what each column means.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.speedkit.ceilings import ceilings, convolution_ceilings
from benchmarks.speedkit.inference import inference, large
from benchmarks.speedkit.measuring import machine
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import network, save_untrained
from benchmarks.speedkit.shares import shares
from benchmarks.speedkit.tables import markdown
from benchmarks.speedkit.training import training
from cloudkit.cli import parser, run
from cloudkit.distributed import choose_device
from cloudkit.files import write_json


def main(options: SpeedOptions) -> None:
    """Measure each section, print its table as soon as it is there, and write all of them."""
    device = choose_device(options.device)
    about = machine(device)
    results: dict[str, Any] = {"machine": about, "quick": options.quick}
    print(", ".join(f"{name} {value}" for name, value in about.items()))

    def add(part: str, title: str, rows: list[dict[str, Any]]) -> None:
        results[part] = rows
        print(f"\n### {title}\n\n{markdown(rows)}", flush=True)

    with TemporaryDirectory() as folder:
        weights = options.checkpoint or save_untrained(Path(folder) / "untrained.pt")
        network("naive", weights)  # so that weights which cannot be compared are refused at once
        if "ceilings" in options.parts:
            add("ceilings", "Ceilings", ceilings(options, device))
        if "inference" in options.parts:
            known = convolution_ceilings(results.get("ceilings", []))
            add("inference", "Restoring", inference(options, device, weights, known))
        if "training" in options.parts:
            add("training", "Training steps", training(options, device, weights))
        if "shares" in options.parts:
            add("shares", "Share of each part in restoring", shares(options, device, weights))
        if "large" in options.parts:
            add("large", "One large image on the CPU", large(options, weights))
    if options.out is not None:
        write_json(options.out, results)
        print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    run(main, parser(SpeedOptions, __doc__))
