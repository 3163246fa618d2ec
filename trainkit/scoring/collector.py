"""Scores of a set of restored images, collected image by image in one process or several."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.processes import Processes
from trainkit.data.scenes import Scene
from trainkit.scoring.measures import MeasureName, make_scorer
from trainkit.scoring.protocols import PROTOCOLS, Protocol, score

Scores = Mapping[str, float]
PLAIN: Protocol = "plain"
SIDES = ("input", "restored")


class ImageScores(NamedTuple):
    """Scores of one image by protocol; optional metrics stand with plain."""

    name: str
    input: Mapping[str, Scores]
    """Scores of the cloudy image against the clear one."""
    restored: Mapping[str, Scores]
    """Scores of the restored image against the clear one."""
    digest: str = ""
    """SHA-256 of the pixels of the cloudy and the clear image."""
    refused: Mapping[str, str] = {}
    """Reasons why protocols could not score the image."""


class Collector:
    """Scorer of images, one after the other.

    Args:
        protocols: names of protocols beside plain; None means all that can score every image.
        metrics: names of optional metrics, computed on clamped images.

    Raises:
        UserError: a metric cannot be prepared.
    """

    def __init__(
        self, protocols: Iterable[Protocol] | None = (), metrics: Sequence[MeasureName] = ()
    ) -> None:
        self.rows: list[ImageScores] = []
        self._may_leave_out = protocols is None
        others = PROTOCOLS if protocols is None else protocols
        self.protocols: list[Protocol] = list(dict.fromkeys((PLAIN, *others)))
        self._score_metrics = make_scorer(metrics)

    @property
    def smallest(self) -> int:
        """Side in pixels of the smallest image that can be scored."""
        required = [PLAIN] if self._may_leave_out else self.protocols
        return max(PROTOCOLS[protocol].smallest for protocol in required)

    def add(self, scene: Scene, restored: Tensor) -> ImageScores:
        """Score one image.

        Args:
            scene: the cloudy and the clear image.
            restored: (3, H, W), as the network returned it or in [0, 1].

        Raises:
            UserError: the image cannot be scored.
        """
        refused: dict[str, str] = {}
        before = self._score(scene, scene.cloudy, refused)
        after = self._score(scene, restored, refused)

        digest = hashlib.sha256()
        for image in (scene.cloudy, scene.truth):
            digest.update(image.contiguous().numpy().tobytes())
        row = ImageScores(scene.name, before, after, digest.hexdigest(), refused)
        self.rows.append(row)
        return row

    def gather(self, processes: Processes) -> None:
        """Collect the scores of all processes.

        Every process must call it after scoring its `Processes.split` of the images.
        """
        self.rows = processes.gather(self.rows)
        left_out = self.left_out
        self.protocols = [protocol for protocol in self.protocols if protocol not in left_out]

    @property
    def left_out(self) -> dict[str, str]:
        """Reasons why protocols are left out, each by the first image that it cannot score."""
        first: dict[str, str] = {}
        for row in self.rows:
            for protocol, reason in row.refused.items():
                first.setdefault(protocol, reason)
        return first

    @property
    def images(self) -> str:
        """SHA-256 of the names and pixels of all cloudy and clear images; equal sets compare."""
        digests = {row.name: row.digest for row in self.rows}
        return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()

    def _score(self, scene: Scene, image: Tensor, refused: dict[str, str]) -> dict[str, Scores]:
        """Score one image under all protocols; add those that cannot to `refused`."""
        scores: dict[str, Scores] = {}
        for protocol in list(self.protocols):
            try:
                scores[protocol] = score(protocol, image, scene.truth)
                if protocol == PLAIN:
                    scores[PLAIN] = {**scores[PLAIN], **self._score_metrics(image, scene.truth)}
            except ValueError as error:
                if protocol == PLAIN or not self._may_leave_out:
                    raise UserError(f"image {scene.name} cannot be scored: {error}") from error
                refused[protocol] = f"{scene.name}: {error}"
                self.protocols.remove(protocol)
        return scores
