"""PSNR and SSIM of restored images under the plain protocol: float RGB in [0, 1], full resolution, per image, then the mean."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from cloudkit.images import write_atomically
from cloudkit.scoring.metrics import psnr, ssim

METRICS = ("psnr", "ssim", "ssim_gaussian")
Scores = dict[str, float]


def score_image(image: Tensor, clear: Tensor) -> Scores:
    """PSNR in dB (infinite if equal), SSIM and Gaussian SSIM of one image (C, H, W) against another, both in [0, 1]."""
    pair = image[None], clear[None]
    return {"psnr": float(psnr(*pair)), "ssim": float(ssim(*pair)), "ssim_gaussian": float(ssim(*pair, gaussian=True))}


def summarise(rows: Sequence[tuple[str, Scores, Scores]]) -> dict[str, object]:
    """The content of metrics.json from (name, scores of the cloudy input, scores of the restored image) of every image."""
    return {
        "protocol": "plain",
        "count": len(rows),
        "input": _means([scores for _, scores, _ in rows]),
        "restored": _means([scores for _, _, scores in rows]),
    }


def _means(scores: Sequence[Scores]) -> dict[str, float | int | None]:
    """Means over images; infinite PSNR is left out of the mean and counted, and a mean of nothing is None."""
    means: dict[str, float | int | None] = {}
    for metric in METRICS:
        finite = [row[metric] for row in scores if math.isfinite(row[metric])]
        means[metric] = sum(finite) / len(finite) if finite else None
    infinite = sum(math.isinf(row["psnr"]) for row in scores)
    return {**means, "psnr_infinite": infinite} if infinite else means


def write_scores(folder: Path, summary: Mapping[str, object], rows: Sequence[tuple[str, Scores, Scores]]) -> None:
    """Write metrics.json, and metrics.csv with one line an image, in which an infinite PSNR is "inf"."""
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    write_atomically(folder / "metrics.json", lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def write_csv(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["name", *(f"{kind}_{metric}" for kind in ("input", "restored") for metric in METRICS)])
            for name, *both in rows:
                writer.writerow([name, *(f"{scores[metric]:.6f}" for scores in both for metric in METRICS)])

    write_atomically(folder / "metrics.csv", write_csv)
