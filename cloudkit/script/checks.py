"""Checks that the options of several scripts share.

Each raises ValueError, or its subclass UserError, that says what was expected.
"""

import math
from pathlib import Path

from cloudkit.errors import UserError

_LARGEST_SEED = 2**63 - 1


def require_positive(**values: float) -> None:
    """Require that every value is a finite number greater than 0."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{_option(name)} is {value}, expected more than 0.")
        _require_finite(name, value)


def require_not_negative(**values: float) -> None:
    """Require that every value is a finite number of 0 or more."""
    for name, value in values.items():
        if not value >= 0:
            raise UserError(f"{_option(name)} is {value}, expected 0 or more.")
        _require_finite(name, value)


def require_seed(**seeds: int) -> None:
    """Require that every seed is one that PyTorch takes."""
    require_not_negative(**seeds)
    for name, seed in seeds.items():
        if seed > _LARGEST_SEED:
            raise UserError(f"{_option(name)} is {seed}, expected at most {_LARGEST_SEED}.")


def require_fraction(**values: float) -> None:
    """Require that every value is from 0 to 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise UserError(f"{_option(name)} is {value}, expected a fraction from 0 to 1.")


def require_pixels(least: int, **sides: int | None) -> None:
    """Require that every side has a least number of pixels. None is a default."""
    for name, side in sides.items():
        if side is not None and side < least:
            raise UserError(f"{_option(name)} is {side}, expected at least {least} pixels.")


def require_multiple(crop: int, factor: int) -> None:
    """Require a crop size that the networks accept."""
    if crop % factor:
        example = max(1, crop // factor) * factor
        raise UserError(
            f"--crop is {crop}, expected a multiple of {factor}, for example {example}."
        )


def require_decay(ema: float) -> None:
    """Require a decay of averaged weights, or 0 for no averaging."""
    if not 0 <= ema < 1:
        raise UserError(f"--ema is {ema}, expected 0 (none) or a decay below 1, for example 0.999.")


def require_apart(out: Path, source: Path | None) -> None:
    """Require that results do not lie among the images, where a later run would read them."""
    if source is not None and out.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"--out {out} lies inside {source}, so results would be read as images the next time; "
            "choose another."
        )


def _require_finite(name: str, value: float) -> None:
    if math.isinf(value):  # files of options are JSON, which has no infinity
        raise UserError(f"{_option(name)} is {value}, expected a finite number.")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
