"""Provenance of restored files: what made them, in tags of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cloudkit.files import digest
from cloudkit.imaging.properties import Properties
from cloudkit.imaging.selection import Selection
from thiefcloud.network.base import Restorer

NAMESPACE = "THIEFCLOUD"  # domain of the tags; a file that was restored before has more than one


@dataclass(frozen=True)
class Run:
    """Weights and options of a run: all that its results depend on but the image."""

    weights: str
    """Name of the file of weights."""
    checksum: str
    """SHA-256 of the file."""
    options: tuple[str, ...] = ()
    """Names of the options that change pixels, such as "blend"."""
    sees_thickness: bool = True
    """Flag for weights with a cloud prior."""

    @property
    def identity(self) -> dict[str, Any]:
        """Values that distinguish this run's tiles from those of others, for JSON."""
        return {"weights": self.checksum, "options": list(self.options)}


def run_of(model: Restorer, weights: Path, options: tuple[str, ...] = ()) -> Run:
    """Describe a run.

    Args:
        model: the network.
        weights: file that it was loaded from.
        options: names of the options that change pixels.
    """
    return Run(weights.name, digest(weights), options, model.sees_thickness)


def with_provenance(
    properties: Properties, run: Run, selection: Selection, thickness: tuple[float, float]
) -> Properties:
    """Add what made a file to its tags. Those that it has stay.

    Args:
        properties: those of the file.
        run: what restored it.
        selection: the bands that were restored, and their scale.
        thickness: smallest and largest value of its thickness map.
    """
    name, number = NAMESPACE, 1
    while name in properties.tags:
        number += 1
        name = f"{NAMESPACE}_{number}"
    return replace(
        properties, tags={**properties.tags, name: _tags(run, selection, properties, thickness)}
    )


def _tags(
    run: Run, selection: Selection, properties: Properties, thickness: tuple[float, float]
) -> Mapping[str, str]:
    bands = [properties.order[place] + 1 for place in selection.places]
    tags = {
        "SOFTWARE": f"thiefcloud {_version()}",
        "WEIGHTS": run.weights,
        "WEIGHTS_SHA256": run.checksum,
        "OPTIONS": " ".join(f"--{name}" for name in run.options) or "none",
        "BANDS": " ".join(map(str, bands)),
        "SCALE": str(selection.scaling),
    }
    if run.sees_thickness:
        tags["THICKNESS"] = f"{thickness[0]:.4f} to {thickness[1]:.4f}"
    return tags


def _version() -> str:
    try:
        return version("thiefcloud")
    except PackageNotFoundError:  # torch.hub installs no package
        return "of unknown version"
