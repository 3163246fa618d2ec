"""Checks that the options of several scripts share; each raises ValueError, or its kind UserError, with what was expected."""

from pathlib import Path

from cloudkit.errors import UserError


def require_positive(**values: float) -> None:
    """Every value is greater than 0."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{_option(name)} is {value}, expected more than 0.")


def require_not_negative(**values: float) -> None:
    """Every value is 0 or more."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{_option(name)} is {value}, expected 0 or more.")


def require_share(**values: float) -> None:
    """Every value is from 0 to 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{_option(name)} is {value}, expected a share from 0 to 1.")


def require_multiple(crop: int, factor: int) -> None:
    """The networks take crops of this size."""
    if crop % factor:
        raise ValueError(f"--crop is {crop}, expected a multiple of {factor}, for example {max(1, crop // factor) * factor}.")


def require_decay(ema: float) -> None:
    """This is a decay of averaged weights, or 0 for none."""
    if not 0 <= ema < 1:
        raise ValueError(f"--ema is {ema}, expected 0 (none) or a decay below 1, for example 0.999.")


def require_apart(out: Path, source: Path | None) -> None:
    """What is written does not lie among what is read, where a later run would read it."""
    if source is not None and out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"--out {out} lies inside {source}, so results would be read as images the next time; choose another.")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
