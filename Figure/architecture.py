"""Draw the networks and their training as Figure/architecture.svg.

    python Figure/architecture.py

Coordinates are pixels of a page 1000 wide, about the width of a README. Panels are placed by their
corners, everything else by its centre.
"""
# ruff: noqa: RUF001 (multiplication signs, minus signs and Greek letters are meant)

import argparse
from pathlib import Path
from typing import NamedTuple

from Figure.blocks import draw_afe, draw_inversion, draw_pgff, draw_training
from Figure.canvas import Canvas


class Level(NamedTuple):
    """Level of both networks."""

    number: int
    y: int
    """Row of its main line."""
    width: int
    """Channels of the removal network."""
    scale: str
    depth: int
    """Number of AFEs on the shallow features."""


LEVELS = (
    Level(1, 142, 24, "H × W", 3),
    Level(2, 298, 48, "H/2 × W/2", 2),
    Level(3, 454, 96, "H/4 × W/4", 2),
)
TOP, DEEPEST, PITCH = 142, 454, 156  # rows of the first and last main line, and their distance
PRIOR_LANE, SHALLOW_LANE = 54, -44  # rows of the two inputs of PGFF, from the main line
IMAGE_LANE, RESIDUAL_LANE = TOP - 40, TOP - 92  # rows of the cloudy and the inverted image
THICKNESS = DEEPEST + PRIOR_LANE + 82  # row of the thickness map

# Columns of SCPM, of the removal network and of its outputs, from left to right.
IMAGE, ENCODER, DECODER, SIMAM, MAPS = 56, 152, 232, 307, 367
SHALLOW, AFES, SUM, FUSION, PGFF, HEADS = 474, 584, 634, 694, 766, 831
RESIDUAL, OUTPUT = 884, 940


def draw_removal(canvas: Canvas) -> None:
    """Draw the removal network: level 1 restores the image, the others only serve the loss."""
    canvas.text(20, 36, "(a) ThiefCloud", "start bold")
    canvas.text(20, 55, "SCPM sees how thick the cloud is, and its features guide", "start")
    canvas.text(20, 71, "the removal network at three scales.", "start")
    canvas.panel(424, TOP - 78, 442, DEEPEST - TOP + 154, "Removal network")
    canvas.symbols(IMAGE, TOP - 20, "ground", "cloud", "frame")
    canvas.text(IMAGE, TOP + 33, "cloudy image\n3 × H × W")

    draw_option(canvas)
    for level in LEVELS:
        draw_level(canvas, level)

    for row, look in enumerate(("conv", "deformable", "conv dashed", "inversion dashed")):
        canvas.box(618, DEEPEST + 102 + 16 * row, (20, 11), "", look)
    canvas.text(634, DEEPEST + 106, "convolutions\ndeformable\nonly in training\noption", "start")
    canvas.text(770, DEEPEST + 106, "down: conv, PixelUnshuffle(2)", "start")
    canvas.text(770, DEEPEST + 122, "up: conv, PixelShuffle(2)", "start")
    canvas.text(770, DEEPEST + 138, "head: PixelShuffle(r), conv", "start")
    canvas.text(770, DEEPEST + 154, "fusion: join, conv, ReLU", "start")


def draw_option(canvas: Canvas) -> None:
    """Draw the inversion, its guide, and the path around the removal network."""
    y, x, branch, bend = IMAGE_LANE, 240, 398, 415
    canvas.chain(y, (IMAGE, 72), (x, 84))
    canvas.arrows(f"M{x + 42} {y}H{bend}V{TOP}H{SHALLOW - 36}")
    canvas.box(x, y, (84, 40), "guided\ninversion", "inversion dashed")
    canvas.text((x + 42 + branch) / 2, y - 8, "k I + b", "math")
    canvas.arrows(f"M{x} {TOP + 9}V{y + 20}", look="end-tip dashed")
    canvas.text(x + 9, y + 39, "guide: thickness, features", "start")

    around = f"M{branch} {y}V{RESIDUAL_LANE}H{RESIDUAL}V{TOP - 8}"
    canvas.arrows(around, look="start-dot end-tip dashed")
    canvas.symbols(RESIDUAL, TOP, "plus")
    residual = "with the option, a residual path: each level's output is added to k I + b"
    canvas.text(645, RESIDUAL_LANE - 9, residual)


def draw_level(canvas: Canvas, level: Level) -> None:
    """Draw a level of the removal network, and its connections to the next levels."""
    y, prior, bypass = level.y, level.y + PRIOR_LANE, level.y + SHALLOW_LANE
    deeper = level.number > 1
    dashed = " dashed" if deeper else ""
    canvas.text(858, y - 42, f"Level {level.number}", "end bold")
    canvas.text(858, y - 26, f"{level.width} × {level.scale}", "end")

    # Connections.
    canvas.arrows(f"M522 {y}V{bypass}H{PGFF - 14}V{y - 20}", look="start-dot end-tip" + dashed)
    if deeper:
        canvas.symbols(FUSION, bypass, "gap")
        canvas.box(FUSION, y - 68, (86, 20), f"up {level.width} → {level.width // 2}")
        canvas.arrows(f"M{FUSION} {y - 26}V{y - 58}", f"M{FUSION} {y - 78}V{y - PITCH + 64}")
    if y < DEEPEST:
        canvas.arrows(f"M{SHALLOW} {y}V{y + PITCH - 20}")
        canvas.symbols(SHALLOW, prior, "gap")
    canvas.panel(532, y - 34, 117, 53, look="card afe")
    canvas.arrows(f"M541 {y}V{y - 26}H{SUM}V{y - 8}", look="start-dot end-tip")
    canvas.chain(y, (SHALLOW, 72), (AFES, 60), (SUM, 16), (FUSION, 60))
    canvas.chain(prior, (AFES, 76), (FUSION, 60))
    ends = [(OUTPUT, 72)] if deeper else [(RESIDUAL, 16), (OUTPUT, 72)]
    canvas.chain(y, (FUSION, 60), (PGFF, 52), (HEADS, 44), *ends, look="end-tip" + dashed)

    # Blocks.
    if deeper:
        canvas.box(SHALLOW, y, (72, 40), f"down\n{level.width // 2} → {level.width}")
    else:
        canvas.box(SHALLOW, y, (72, 54), f"shallow\nCNN\n3 → {level.width}")
    canvas.stack(AFES, y, (60, 24), f"AFE × {level.depth}", "afe", count=level.depth)
    canvas.symbols(SUM, y, "plus")
    canvas.box(AFES, prior, (76, 26), "prior AFE", "afe")
    canvas.box(FUSION, y + 19, (60, 90), "fusion")
    canvas.box(PGFF, y, (52, 40), "PGFF", "pgff" + dashed)
    canvas.box(HEADS, y, (44, 40), f"head\nr = {2 ** (level.number - 1)}", "conv" + dashed)

    # Output.
    canvas.symbols(OUTPUT, y, "ground", "frame", look=dashed)
    if deeper:
        canvas.text(OUTPUT, y + 53, "supervision")
    else:
        canvas.text(OUTPUT, y + 53, "restored image", "bold")
    canvas.text(OUTPUT, y + 69, "3 × H × W")


def draw_scpm(canvas: Canvas) -> None:
    """Draw the U-Net of SCPM; each level is on the row of its input to the removal network."""
    first, last = TOP + PRIOR_LANE, DEEPEST + PRIOR_LANE
    canvas.panel(112, first - 45, 294, THICKNESS + 32 - first + 45, "SCPM, the cloud prior")
    canvas.panel(MAPS - 25, first - 29, 56, last - first + 70, look="card prior")

    for level in LEVELS:
        y, side, deeper = level.y + PRIOR_LANE, 38 - 6 * level.number, level.number > 1
        size = level.scale.split()[0]
        canvas.chain(y, (ENCODER, 58), (DECODER, 58), (SIMAM, 52), (MAPS, side))
        canvas.chain(y, (MAPS + 6, side), (AFES, 76))
        look = "conv" if deeper else "deformable"
        for column in (ENCODER, DECODER):
            canvas.box(column, y, (58, 36), f"{level.width // 2}\n{size}", look)
        canvas.box(SIMAM, y, (52, 36), "conv\nSimAM" if deeper else "SimAM", "prior")
        canvas.stack(MAPS, y, (side, side), "12", "prior", count=3)
        canvas.text(MAPS + 3, y + side / 2 + 15, size)
        if deeper:
            canvas.arrows(f"M{ENCODER} {y - PITCH + 18}V{y - 18}")
            canvas.arrows(f"M{DECODER} {y - 18}V{y - PITCH + 18}")

    # The coarsest level and the thickness map.
    centre = (ENCODER + DECODER) // 2
    canvas.box(centre, THICKNESS, (54, 36), "96\nH/8")
    canvas.box(MAPS - 16, THICKNESS, (94, 52), "upsample,\nconcatenate,\n1×1 conv")
    canvas.arrows(f"M102 {IMAGE_LANE}V{first}H{ENCODER - 29}", look="start-dot end-tip")
    canvas.arrows(f"M{MAPS + 3} {last + 41}V{THICKNESS - 26}", f"M{MAPS + 31} {THICKNESS}H438")
    canvas.arrows(f"M{ENCODER} {last + 18}V{THICKNESS}H{centre - 27}")
    canvas.arrows(f"M{centre + 27} {THICKNESS}H{DECODER}V{last + 18}")
    canvas.symbols(474, THICKNESS - 4, "black", "cloud", "frame")
    canvas.text(520, THICKNESS - 7, "thickness\n1 × H × W", "start")


def main() -> None:
    """Write the drawing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).with_suffix(".svg")
    parser.add_argument("--out", type=Path, default=default, help="file to write")
    arguments = parser.parse_args()

    canvas = Canvas()
    for draw in (draw_removal, draw_scpm, draw_afe, draw_pgff, draw_inversion, draw_training):
        draw(canvas)
    arguments.out.write_text(canvas.svg, encoding="utf-8")


if __name__ == "__main__":
    main()
