"""Draw the networks and their training as Figure/architecture.svg, with nothing but the standard library and Figure/canvas.py.

    python Figure/architecture.py

Coordinates are pixels of a page 1000 wide, about a README's width. Panels are placed by their corners, all else by its centre.
"""
# ruff: noqa: RUF001 (multiplication signs, minus signs and Greek letters are meant)

import argparse
from pathlib import Path
from typing import NamedTuple

from Figure.canvas import Canvas


class Level(NamedTuple):
    """One level of both networks."""

    number: int
    y: int  # of its main line
    width: int
    scale: str
    depth: int  # AFEs on the shallow features


SCALES = ("H × W", "H/2 × W/2", "H/4 × W/4")
LEVELS = [Level(i + 1, 142 + 156 * i, 24 * 2**i, SCALES[i], 2 if i else 3) for i in range(3)]
TOP, DEEPEST, PITCH = LEVELS[0].y, LEVELS[-1].y, LEVELS[1].y - LEVELS[0].y
PRIOR_LANE, SHALLOW_LANE = 54, -44  # where, seen from a level's main line, the prior comes in and the shallow features pass
IMAGE_LANE, RESIDUAL_LANE = TOP - 40, TOP - 92  # of the cloudy image, and of the inverted one
THICKNESS, BLOCKS, INVERTING, TRAINING = DEEPEST + PRIOR_LANE + 82, 638, 870, 1120
IMAGE, ENCODER, DECODER, SIMAM, MAPS = 56, 152, 232, 307, 367  # columns of SCPM, from left to right
SHALLOW, AFES, SUM, FUSION, PGFF, HEADS = 474, 584, 634, 694, 766, 831  # and of the removal network
RESIDUAL, OUTPUT = 884, 940  # and behind it


def draw_removal(canvas: Canvas) -> None:
    """The removal network, whose level 1 restores the image; the outputs of the deeper levels exist for the loss."""
    canvas.text(20, 36, "(a) ThiefCloud", "start bold")
    canvas.text(20, 55, "SCPM sees how thick the cloud is, and its features guide\nthe removal network at three scales.", "start")
    canvas.panel(424, TOP - 78, 442, DEEPEST - TOP + 154, "Removal network")
    canvas.symbols(IMAGE, TOP - 20, "ground", "cloud", "frame")
    canvas.text(IMAGE, TOP + 33, "cloudy image\n3 × H × W")
    draw_option(canvas)
    for level in LEVELS:
        draw_level(canvas, level)
    for row, look in enumerate(("conv", "deformable", "conv dashed", "inversion dashed")):
        canvas.box(618, DEEPEST + 102 + 16 * row, 20, 11, "", look)
    canvas.text(634, DEEPEST + 106, "convolutions\ndeformable\nonly in training\noption", "start")
    blocks = "down: conv, PixelUnshuffle(2)\nup: conv, PixelShuffle(2)\nhead: PixelShuffle(r), conv\nfusion: join, conv, ReLU"
    canvas.text(770, DEEPEST + 106, blocks, "start")


def draw_option(canvas: Canvas) -> None:
    """Draw the inversion, its guide, and the path around the removal network."""
    y, x, branch, turn = IMAGE_LANE, 240, 398, 415
    canvas.chain(y, (IMAGE, 72), (x, 84))
    canvas.arrows(f"M{x + 42} {y}H{turn}V{TOP}H{SHALLOW - 36}")
    canvas.box(x, y, 84, 40, "guided\ninversion", "inversion dashed")
    canvas.text((x + 42 + branch) / 2, y - 8, "k I + b", "math")
    canvas.arrows(f"M{x} {TOP + 9}V{y + 20}", look="end-tip dashed")
    canvas.text(x + 9, y + 39, "guide: thickness, features", "start")
    around = f"M{branch} {y}V{RESIDUAL_LANE}H{RESIDUAL}V{TOP - 8}"
    canvas.arrows(around, look="start-dot end-tip dashed")
    canvas.symbols(RESIDUAL, TOP, "plus")
    residual = "with the option, a residual path: each level's output is added to k I + b"
    canvas.text(645, RESIDUAL_LANE - 9, residual)


def draw_level(canvas: Canvas, level: Level) -> None:
    """One level from its shallow features to its output, and its ties to the levels above and below."""
    y, prior, bypass, deeper = level.y, level.y + PRIOR_LANE, level.y + SHALLOW_LANE, level.number > 1
    dashed = " dashed" if deeper else ""
    canvas.text(858, y - 42, f"Level {level.number}", "end bold")
    canvas.text(858, y - 26, f"{level.width} × {level.scale}", "end")
    canvas.arrows(f"M522 {y}V{bypass}H{PGFF - 14}V{y - 20}", look="start-dot end-tip" + dashed)
    if deeper:
        canvas.symbols(FUSION, bypass, "gap")
        canvas.box(FUSION, y - 68, 86, 20, f"up {level.width} → {level.width // 2}")
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
    source = f"down\n{level.width // 2} → {level.width}" if deeper else f"shallow\nCNN\n3 → {level.width}"
    canvas.box(SHALLOW, y, 72, 40 if deeper else 54, source)
    canvas.box(AFES, y, 60, 24, f"AFE × {level.depth}", "afe", count=level.depth)
    canvas.symbols(SUM, y, "plus")
    canvas.box(AFES, prior, 76, 26, "prior AFE", "afe")
    canvas.box(FUSION, y + 19, 60, 90, "fusion")
    canvas.box(PGFF, y, 52, 40, "PGFF", "pgff" + dashed)
    canvas.box(HEADS, y, 44, 40, f"head\nr = {2 ** (level.number - 1)}", "conv" + dashed)
    canvas.symbols(OUTPUT, y, "ground", "frame", look=dashed)
    canvas.text(OUTPUT, y + 53, "supervision" if deeper else "restored image", "" if deeper else "bold")
    canvas.text(OUTPUT, y + 69, "3 × H × W")


def draw_scpm(canvas: Canvas) -> None:
    """The U-Net, whose levels lie on the lines on which their feature maps leave for the removal network."""
    first, last, centre = TOP + PRIOR_LANE, DEEPEST + PRIOR_LANE, (ENCODER + DECODER) // 2
    canvas.panel(112, first - 45, 294, THICKNESS + 32 - first + 45, "SCPM, the cloud prior")
    canvas.panel(MAPS - 25, first - 29, 56, last - first + 70, look="card prior")
    for level in LEVELS:
        y, size, side, deeper = level.y + PRIOR_LANE, level.scale.split()[0], 38 - 6 * level.number, level.number > 1
        canvas.chain(y, (ENCODER, 58), (DECODER, 58), (SIMAM, 52), (MAPS, side))
        canvas.chain(y, (MAPS + 6, side), (AFES, 76))
        for column in (ENCODER, DECODER):
            canvas.box(column, y, 58, 36, f"{level.width // 2}\n{size}", "conv" if deeper else "deformable")
        canvas.box(SIMAM, y, 52, 36, "conv\nSimAM" if deeper else "SimAM", "prior")
        canvas.box(MAPS, y, side, side, "12", "prior", count=3)
        canvas.text(MAPS + 3, y + side / 2 + 15, size)
        if deeper:
            canvas.arrows(f"M{ENCODER} {y - PITCH + 18}V{y - 18}", f"M{DECODER} {y - 18}V{y - PITCH + 18}")
    canvas.box(centre, THICKNESS, 54, 36, "96\nH/8")
    canvas.box(MAPS - 16, THICKNESS, 94, 52, "upsample,\nconcatenate,\n1×1 conv")
    canvas.arrows(f"M102 {IMAGE_LANE}V{first}H{ENCODER - 29}", look="start-dot end-tip")
    canvas.arrows(f"M{MAPS + 3} {last + 41}V{THICKNESS - 26}", f"M{MAPS + 31} {THICKNESS}H438")
    canvas.arrows(f"M{ENCODER} {last + 18}V{THICKNESS}H{centre - 27}", f"M{centre + 27} {THICKNESS}H{DECODER}V{last + 18}")
    canvas.symbols(474, THICKNESS - 4, "black", "cloud", "frame")
    canvas.text(520, THICKNESS - 7, "thickness\n1 × H × W", "start")


def draw_afe(canvas: Canvas) -> None:
    """The lattice of AFE."""
    canvas.panel(20, BLOCKS, 554, 218, "(b) AFE, adaptive feature enhancement")
    upper, middle, lower = BLOCKS + 60, BLOCKS + 102, BLOCKS + 144
    canvas.arrows(f"M48 {middle}H62V{upper}H168", f"M138 {lower}H168", f"M341 {upper}H362", f"M264 {lower}H362", look="")
    canvas.arrows(f"M62 {middle}V{lower}H74", look="start-dot end-tip")
    for left, rising, falling in ((168, "M₁", "M₂"), (362, "M₃", "M₄")):
        for y, down, gate in ((lower, -1, rising), (upper, 1, falling)):
            canvas.arrows(f"M{left} {y}h80", f"M{left} {y}l82.2 {78.5 * down}", look="start-dot end-tip")
            canvas.box(left + 26, y + 25 * down, 28, 20, gate, "prior")
            canvas.symbols(left + 88, y, "plus")
    canvas.arrows(f"M264 {upper}H277", f"M458 {upper}H512V{middle - 14}", f"M458 {lower}H512V{middle + 14}", f"M547 {middle}H568")
    for x, y, width, content in ((106, lower, 64, "block 0"), (309, upper, 64, "block 1"), (512, middle, 70, "1×1 conv")):
        canvas.box(x, y, width, 28, content)
    canvas.text(38, middle + 5, "x", "math")
    for x, y, name in ((168, lower + 20, "f"), (256, upper - 14, "p"), (362, upper - 11, "g"), (256, lower + 22, "q")):
        canvas.text(x, y, name, "math")
    canvas.text(31, BLOCKS + 187, "A gate carries M(z) · z, M(z) = ½ (MLP(mean z) + MLP(std z)), in (0, 1) per channel.", "start")
    canvas.text(31, BLOCKS + 205, "A block is three 3×3 convs, c → ¾c → ¾c → c, each with LeakyReLU(0.05).", "start")


def draw_pgff(canvas: Canvas) -> None:
    """PGFF and the scattering model that it mirrors."""
    canvas.panel(588, BLOCKS, 392, 218, "(c) PGFF, physics-guided feature fusion")
    rail, fused = BLOCKS + 52, BLOCKS + 120
    canvas.text(599, rail + 4.5, "shallow", "start")
    canvas.text(599, fused + 4.5, "fused", "start")
    canvas.chain(rail, (600, 100), (820, 16), (900, 16), (974, 16))
    canvas.arrows(f"M638 {fused}H660", f"M750 {fused}H900V{rail + 8}")
    canvas.arrows(f"M820 {fused}V{rail + 8}", look="start-dot end-tip")
    canvas.box(705, fused, 90, 26, "conv, ReLU")
    for x, symbol, name, look in ((820, "times", "1 + γ", "scale"), (900, "plus", "β", "offset")):
        canvas.box(x, fused - 21, 48, 20, "conv")
        canvas.symbols(x, rail, symbol)
        canvas.text(x + 9, rail + 27, name, f"start math {look}")
    columns = ((640, ""), (670, ""), (712, ""), (746, ""), (782, "scale"), (824, ""), (886, "offset"))
    for y, terms in ((160, "out|=|shallow|·|(1 + γ)|+|β"), (184, "J|=|I|·|(1 / t)|+|A (1 − 1 / t)")):
        for (x, look), term in zip(columns, terms.split("|"), strict=True):
            canvas.text(x, BLOCKS + y, term, f"math {look}")
    canvas.text(784, BLOCKS + 206, "the scattering model I = J t + A (1 − t), solved for J")


def draw_inversion(canvas: Canvas) -> None:
    """Draw the inversion's U-Net, which writes gain and offset from coarse to fine."""
    canvas.panel(20, INVERTING, 960, 236, "(d) Guided inversion, an option")
    canvas.text(968, INVERTING + 20, "from coarse to fine, each level adds to k and b", "end")
    guide, context, encoder, middle, decoder, head, total = 283, 309, 372, 441, 510, 590, 640
    top, joint, rail, coarsest, even = (INVERTING + 56 + 38 * row for row in range(5))
    canvas.symbols(66, rail, "ground", "cloud", "cells", "frame")
    canvas.text(66, rail + 53, "image I")
    canvas.arrows(f"M102 {rail}H113V{top}H125", f"M113 {rail}V{even}H125")
    canvas.box(194, top, 138, 36, "cells of 4 × 4 pixels:\n4 statistics per band", "inversion")
    canvas.box(194, joint + 10, 138, 36, "guide from SCPM:\nthickness, features", "prior")
    canvas.box(194, even, 138, 36, "the whole image:\n11 statistics per band", "inversion")
    canvas.box(context, even, 42, 26, "MLP")
    canvas.box(head, even, 44, 20, "conv")
    canvas.chain(top, (194, 138), (guide, 16), (context, 16), (encoder, 76))
    canvas.chain(even, (194, 138), (context, 42), (head, 44))
    canvas.arrows(f"M263 {joint + 10}H{guide}V{top + 8}", f"M{context} {even - 13}V{top + 8}")
    canvas.arrows(f"M{middle} {even}V{coarsest + 8}", look="start-dot end-tip")
    canvas.arrows(f"M{head + 22} {even}H{total}V{coarsest + 8}")
    for x, y in ((guide, top), (context, top), (middle, coarsest)):
        canvas.symbols(x, y, "plus")
    for y, width, cell in ((top, 48, 4), (joint, 96, 8), (rail, 144, 16), (coarsest, 192, 32)):
        joins = [(middle, 16)] if y == coarsest else []
        canvas.chain(y, (encoder, 76), *joins, (decoder, 76), (head, 44), (total, 16))
        for column in (encoder, decoder):
            canvas.box(column, y, 76, 24, f"{width} × H/{cell}")
        if y > top:
            canvas.arrows(f"M{encoder} {y - 26}V{y - 12}", f"M{decoder} {y - 12}V{y - 26}")
            canvas.arrows(f"M{total} {y - 8}V{y - 30}")
        canvas.text(656, y + 4.5 if y > top else y - 8, f"cells of {cell} pixels", "start")
        canvas.box(head, y, 44, 20, "conv")
        canvas.symbols(total, y, "plus")
    canvas.text(656, even + 4.5, "whole image", "start")
    canvas.chain(rail, (780, 20), (820, 16), (872, 16), (936, 72))
    canvas.arrows(f"M{total + 8} {top}H872V{rail - 8}")
    canvas.arrows(f"M820 {top}V{rail - 8}", look="start-dot end-tip")
    canvas.text(780, rail + 5, "I", "math")
    for x, symbol, name, look in ((820, "times", "k", "scale"), (872, "plus", "b", "offset")):
        canvas.symbols(x, rail, symbol)
        canvas.text(x + 9, rail - 32, name, f"start math {look}")
    canvas.symbols(936, rail, "ground", "rest", "frame")
    canvas.text(972, rail + 53, "to the shallow CNN", "end")
    canvas.text(800, even + 10, "k ≈ 1 / t", "math scale")
    canvas.text(907, even + 10, "b ≈ A (1 − 1 / t)", "math offset")


def draw_training(canvas: Canvas) -> None:
    """Draw SCPM's own training, the inversion's, then the two phases of the whole network."""
    canvas.panel(20, TRAINING, 960, 142, "(e) Training")
    loss = "2.4 MSE(level 1) + 0.3 MSE(level 2) + 0.3 MSE(level 3) + 0.04 perceptual"
    canvas.text(968, TRAINING + 20, "Phases 1 and 2: " + loss, "end")
    before = "before phase 1, then frozen\nL1, Adam 5e-4, 200 epochs"
    after = "from phase 1's best\nAdam 3e-4, 200 epochs"
    phases = (
        ("First: SCPM alone", "learns", "", "L1 on thickness\nSGD 1e-4, 20,000 steps"),
        ("Option: inversion alone", "frozen", "inversion", before),
        ("Phase 1: SCPM frozen", "frozen", "removal", "Adam 5e-4, 200 epochs"),
        ("Phase 2: SCPM tunable", "learns", "removal", after),
    )
    for number, (title, prior, learner, recipe) in enumerate(phases):
        x, y, option = 140 + 240 * number, TRAINING + 32, learner == "inversion"
        card = "card inversion dashed" if option else "card plain"
        look = "frozen" if prior == "frozen" else "prior"
        canvas.panel(x - 108, y, 216, 100, title, card)
        canvas.box(x - 52 if number else x, y + 43, 98, 24, f"SCPM {prior}", look)
        canvas.text(x, y + 74, recipe)
        if number:
            look = "inversion dashed" if option else "afe"
            canvas.box(x + 52, y + 43, 98, 24, f"{learner} learns", look)
            canvas.arrows(f"M{x - 132} {y + 43}h24")


def main() -> None:
    """Write the drawing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".svg"), help="file to write")
    arguments = parser.parse_args()
    canvas = Canvas()
    for draw in (draw_removal, draw_scpm, draw_afe, draw_pgff, draw_inversion, draw_training):
        draw(canvas)
    arguments.out.write_text(canvas.svg + "</svg>\n", encoding="utf-8")


if __name__ == "__main__":
    main()
