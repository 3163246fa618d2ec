"""The table of metrics that test.py reports under the plain protocol.

To add a metric, write a function of two images and add an entry to `METRICS`. The options of
test.py, its files and all tables follow from the entry.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from torch import Tensor

from cloudkit.errors import UserError
from trainkit.scoring.metrics import ergas, mean_absolute_error, psnr, spectral_angle, ssim
from trainkit.scoring.perceptual import load_lpips, perceptual_distance


@dataclass(frozen=True)
class Metric:
    """One entry of the table of metrics."""

    function: Callable[[Tensor, Tensor], Tensor]
    """Function of two images (N, C, H, W), the first clamped to [0, 1], that returns (N,)."""
    help: str
    """Line for the help of test.py."""
    unit: str = ""
    """Unit of the values."""
    larger_is_better: bool = False
    """Direction; it decides which value compare.py prints in bold."""
    decimals: int = 4
    """Number of decimals in tables."""
    optional: bool = True
    """True if users ask for it with --measures; False if every run reports it."""
    prepare: Callable[[], object] | None = None
    """Function to call before the first image. It raises UserError if something is missing."""


METRICS = {
    "psnr": Metric(
        psnr,
        help="peak signal-to-noise ratio",
        unit="dB",
        larger_is_better=True,
        decimals=2,
        optional=False,
    ),
    "ssim": Metric(
        ssim,
        help="structural similarity, uniform 7x7 window",
        larger_is_better=True,
        optional=False,
    ),
    "ssim_gaussian": Metric(
        partial(ssim, gaussian=True),
        help="structural similarity, Gaussian 11x11 window",
        larger_is_better=True,
        optional=False,
    ),
    "mae": Metric(mean_absolute_error, help="mean absolute difference"),
    "sam": Metric(
        spectral_angle,
        help="spectral angle between the colours of a pixel",
        unit="degrees",
        decimals=2,
    ),
    "ergas": Metric(ergas, help="relative error over the bands", unit="percent", decimals=2),
    "lpips": Metric(
        perceptual_distance,
        help="perceptual distance (needs the extra lpips)",
        prepare=load_lpips,
    ),
}
OPTIONAL = tuple(name for name, metric in METRICS.items() if metric.optional)


def _option_help() -> str:
    """Return the part of the help of --measures that lists the metrics."""
    lines = []
    for name in OPTIONAL:
        metric = METRICS[name]
        direction = "larger is better" if metric.larger_is_better else "smaller is better"
        details = [metric.help, metric.unit, direction]
        lines.append(f"{name}: {', '.join(filter(None, details))}")
    return f"({'; '.join(lines)})"


if TYPE_CHECKING:
    MeasureName = str
else:
    MeasureName = Literal[OPTIONAL]  # so that the command line offers exactly these
MeasureNames = Annotated[tuple[MeasureName, ...], tyro.conf.arg(help_behavior_hint=_option_help())]


def make_scorer(names: Sequence[MeasureName]) -> Callable[[Tensor, Tensor], dict[str, float]]:
    """Return a function that computes the named metrics.

    Args:
        names: names in `METRICS`.

    Returns:
        Function of the restored image, which it clamps to [0, 1], and the clear one, (3, H, W)
        each. It returns {name: value}.

    Raises:
        UserError: a metric is unknown, or cannot be prepared.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise UserError(f"there is no metric {', '.join(unknown)}; expected {', '.join(METRICS)}.")
    for name in names:
        prepare = METRICS[name].prepare
        if prepare is not None:
            prepare()

    def compute(restored: Tensor, clear: Tensor) -> dict[str, float]:
        if restored.shape != clear.shape or clear.ndim != 3:
            raise ValueError(
                f"shapes are {tuple(restored.shape)} and {tuple(clear.shape)}, "
                "expected (3, H, W) twice the same."
            )
        images = restored.detach().clamp(0, 1)[None], clear[None]
        return {name: float(METRICS[name].function(*images)) for name in names}

    return compute
