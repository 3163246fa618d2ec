"""Panels (b) to (e) of Figure/architecture.svg: AFE, PGFF, the inversion and the training."""
# ruff: noqa: RUF001 (multiplication signs, minus signs and Greek letters are meant)

from Figure.canvas import Canvas

BLOCKS, INVERSION, TRAINING = 638, 870, 1120  # upper ends of the panels


def draw_afe(canvas: Canvas) -> None:
    """Draw the lattice of AFE."""
    canvas.panel(20, BLOCKS, 554, 218, "(b) AFE, adaptive feature enhancement")
    upper, middle, lower = BLOCKS + 60, BLOCKS + 102, BLOCKS + 144
    canvas.arrows(f"M48 {middle}H62V{upper}H168", f"M138 {lower}H168", look="")
    canvas.arrows(f"M341 {upper}H362", f"M264 {lower}H362", look="")
    canvas.arrows(f"M62 {middle}V{lower}H74", look="start-dot end-tip")

    # The gates, from the lower and from the upper line.
    for left, rising, falling in ((168, "M₁", "M₂"), (362, "M₃", "M₄")):
        for y, down, gate in ((lower, -1, rising), (upper, 1, falling)):
            diagonal = f"M{left} {y}l82.2 {78.5 * down}"
            canvas.arrows(f"M{left} {y}h80", diagonal, look="start-dot end-tip")
            canvas.box(left + 26, y + 25 * down, (28, 20), gate, "prior")
            canvas.symbols(left + 88, y, "plus")

    canvas.arrows(f"M264 {upper}H277", f"M458 {upper}H512V{middle - 14}")
    canvas.arrows(f"M458 {lower}H512V{middle + 14}", f"M547 {middle}H568")
    canvas.box(106, lower, (64, 28), "block 0")
    canvas.box(309, upper, (64, 28), "block 1")
    canvas.box(512, middle, (70, 28), "1×1 conv")

    canvas.text(38, middle + 5, "x", "math")
    canvas.text(168, lower + 20, "f", "math")
    canvas.text(256, upper - 14, "p", "math")
    canvas.text(362, upper - 11, "g", "math")
    canvas.text(256, lower + 22, "q", "math")
    gate = "A gate carries M(z) · z, M(z) = ½ (MLP(mean z) + MLP(std z)), in (0, 1) per channel."
    block = "A block is three 3×3 convs, c → ¾c → ¾c → c, each with LeakyReLU(0.05)."
    canvas.text(31, BLOCKS + 187, gate, "start")
    canvas.text(31, BLOCKS + 205, block, "start")


def draw_pgff(canvas: Canvas) -> None:
    """Draw PGFF, and the scattering model whose form it has."""
    canvas.panel(588, BLOCKS, 392, 218, "(c) PGFF, physics-guided feature fusion")
    rail, fused = BLOCKS + 52, BLOCKS + 120
    canvas.text(599, rail + 4.5, "shallow", "start")
    canvas.text(599, fused + 4.5, "fused", "start")
    canvas.chain(rail, (600, 100), (820, 16), (900, 16), (974, 16))
    canvas.arrows(f"M638 {fused}H660", f"M750 {fused}H900V{rail + 8}")
    canvas.arrows(f"M820 {fused}V{rail + 8}", look="start-dot end-tip")
    canvas.box(705, fused, (90, 26), "conv, ReLU")
    for x, symbol, name, look in ((820, "times", "1 + γ", "scale"), (900, "plus", "β", "offset")):
        canvas.box(x, fused - 21, (48, 20), "conv")
        canvas.symbols(x, rail, symbol)
        canvas.text(x + 9, rail + 27, name, f"start math {look}")

    # The terms of both equations below each other.
    columns = (640, 670, 712, 746, 782, 824, 886)
    looks = {782: "scale", 886: "offset"}
    equations = {160: "out|=|shallow|·|(1 + γ)|+|β", 184: "J|=|I|·|(1 / t)|+|A (1 − 1 / t)"}
    for y, terms in equations.items():
        for x, term in zip(columns, terms.split("|"), strict=True):
            canvas.text(x, BLOCKS + y, term, f"math {looks.get(x, '')}")
    canvas.text(784, BLOCKS + 206, "the scattering model I = J t + A (1 − t), solved for J")


def draw_inversion(canvas: Canvas) -> None:
    """Draw the inversion's U-Net, which writes gain and offset from coarse to fine."""
    canvas.panel(20, INVERSION, 960, 236, "(d) Guided inversion, an option")
    canvas.text(968, INVERSION + 20, "from coarse to fine, each level adds to k and b", "end")
    guide, context, encoder, middle, decoder, head, total = 283, 309, 372, 441, 510, 590, 640
    top, joint, rail, coarsest, even = range(INVERSION + 56, INVERSION + 246, 38)

    # Inputs.
    canvas.symbols(66, rail, "ground", "cloud", "cells", "frame")
    canvas.text(66, rail + 53, "image I")
    canvas.arrows(f"M102 {rail}H113V{top}H125", f"M113 {rail}V{even}H125")
    canvas.box(194, top, (138, 36), "cells of 4 × 4 pixels:\n4 statistics per band", "inversion")
    canvas.box(194, joint + 10, (138, 36), "guide from SCPM:\nthickness, features", "prior")
    canvas.box(194, even, (138, 36), "the whole image:\n11 statistics per band", "inversion")

    # Guide and statistics of the whole image.
    canvas.box(context, even, (42, 26), "MLP")
    canvas.box(head, even, (44, 20), "conv")
    canvas.chain(top, (194, 138), (guide, 16), (context, 16), (encoder, 76))
    canvas.chain(even, (194, 138), (context, 42), (head, 44))
    canvas.arrows(f"M263 {joint + 10}H{guide}V{top + 8}", f"M{context} {even - 13}V{top + 8}")
    canvas.arrows(f"M{middle} {even}V{coarsest + 8}", look="start-dot end-tip")
    canvas.arrows(f"M{head + 22} {even}H{total}V{coarsest + 8}")
    for x, y in ((guide, top), (context, top), (middle, coarsest)):
        canvas.symbols(x, y, "plus")

    # Levels of the U-Net.
    for y, width, cell in ((top, 48, 4), (joint, 96, 8), (rail, 144, 16), (coarsest, 192, 32)):
        joins = [(middle, 16)] if y == coarsest else []
        canvas.chain(y, (encoder, 76), *joins, (decoder, 76), (head, 44), (total, 16))
        canvas.box(encoder, y, (76, 24), f"{width} × H/{cell}")
        canvas.box(decoder, y, (76, 24), f"{width} × H/{cell}")
        if y > top:
            canvas.arrows(f"M{encoder} {y - 26}V{y - 12}", f"M{decoder} {y - 12}V{y - 26}")
            canvas.arrows(f"M{total} {y - 8}V{y - 30}")
        baseline = y + 4.5 if y > top else y - 8
        canvas.text(656, baseline, f"cells of {cell} pixels", "start")
        canvas.box(head, y, (44, 20), "conv")
        canvas.symbols(total, y, "plus")
    canvas.text(656, even + 4.5, "whole image", "start")

    # Gain and offset of the image.
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
    """Draw the trainings of SCPM, of the inversion, and of the network in two phases."""
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
    looks = {"learns": "prior", "frozen": "frozen", "inversion": "inversion dashed"}
    for number, (title, prior, learner, recipe) in enumerate(phases):
        x, y = 140 + 240 * number, TRAINING + 32
        card = "card inversion dashed" if learner == "inversion" else "card plain"
        canvas.panel(x - 108, y, 216, 100, title, card)
        canvas.box(x - 52 if number else x, y + 43, (98, 24), f"SCPM {prior}", looks[prior])
        canvas.text(x, y + 74, recipe)
        if learner:
            look = looks.get(learner, "afe")
            canvas.box(x + 52, y + 43, (98, 24), f"{learner} learns", look)
            canvas.arrows(f"M{x - 132} {y + 43}h24")
