"""Actions of the web page: answers to what its user does."""

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from cloudkit.errors import describe_error
from cloudkit.script.each_image import LeftOut, attempt
from thiefcloud.inference.provenance import Run
from thiefcloud.network.base import Restorer
from webpage.options import PageOptions, Work, predict_options
from webpage.work import Finished, View, describe, look, restore, take

Result = TypeVar("Result")

NO_IMAGE = "No image is chosen yet."
MAP = "**Cloud thickness**: black is clear, white is opaque. Click to move the window."
_RESTORED_MAP = "**Restored**. Click to move the window."


@dataclass(frozen=True)
class Actions:
    """Answers of the page to what its user does.

    Each user has a `Work` and a `Finished` of their own, which gradio keeps.
    """

    model: Restorer
    """The network."""
    run: Run
    """Description of it for tags of restored files."""
    options: PageOptions
    """Options of the page."""
    root: Path
    """Folder for the files of all users."""
    examples: tuple[Path, ...]
    """Images that the page offers."""

    def upload(self, earlier: Work | None, file: str, bands: str, peak: str) -> list[Any]:
        """Take an uploaded file, and say what it is."""
        return [*self._choose(earlier, Path(file), bands, peak), None]

    def choose_example(
        self, earlier: Work | None, bands: str, peak: str, event: gr.SelectData
    ) -> list[Any]:
        """Take an example, and say what it is."""
        return self._choose(earlier, self.examples[event.index], bands, peak)

    def restore(
        self,
        work: Work | None,
        bands: str,
        peak: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio finds it by this default
    ) -> list[Any]:
        """Restore the chosen image, and show it."""
        if work is None:
            return [NO_IMAGE, *[gr.skip()] * 10]
        done = tried(lambda: self._restored(work, bands, peak, progress), work.source)
        if not work.source.exists():  # another image was chosen meanwhile
            work.discard()  # results that were written since
            return [gr.skip()] * 11
        if isinstance(done, str):
            hidden = [gr.Column(visible=False), *[gr.skip()] * 7, gr.Row(visible=False)]
            return [done, None, *hidden]

        finished, (pair, place, text) = done
        return [
            finished.note,
            finished,
            gr.Column(visible=True),
            finished.pair,
            MAP if finished.thickness else _RESTORED_MAP,
            place,
            text,
            pair,
            gr.DownloadButton(value=finished.result),
            gr.DownloadButton(value=finished.thickness, visible=finished.thickness is not None),
            gr.Row(visible=True),
        ]

    def look(self, finished: Finished | None, event: gr.SelectData) -> list[Any]:
        """Show the window around the place that was clicked."""
        if finished is None:
            return [gr.skip()] * 4
        column, row = event.index
        seen = tried(lambda: look(finished, row, column), finished.work.source)
        if isinstance(seen, str):
            return [seen, *[gr.skip()] * 3]
        pair, place, text = seen
        return [gr.skip(), place, text, pair]

    def _restored(
        self, work: Work, bands: str, peak: str, progress: gr.Progress
    ) -> tuple[Finished, View]:
        """Restore an image, and look at its middle."""
        thickness = self.model.sees_thickness
        options = predict_options(self.options, work, bands=bands, peak=peak, thickness=thickness)

        def show(step: str, done: int, total: int) -> None:
            progress((done, total), desc=step, unit="tiles")

        progress(0, desc="restoring")
        finished = restore(self.model, work, options, self.run, show)
        height, width = finished.map.shape[:2]
        return finished, look(finished, height // 2, width // 2)

    def _choose(self, earlier: Work | None, file: Path, bands: str, peak: str) -> list[Any]:
        if earlier is not None:
            earlier.discard()
        hidden = [None, gr.Column(visible=False), gr.Row(visible=False)]
        work = tried(lambda: take(file, self.root, megapixels=self.options.megapixels), file)
        if isinstance(work, str):
            return [None, work, gr.Button(interactive=False), *hidden]

        def described() -> str:
            options = predict_options(self.options, work, bands=bands, peak=peak, thickness=False)
            return describe(options, work.source)

        return [work, tried(described, work.source), gr.Button(interactive=True), *hidden]


def tried(work: Callable[[], Result], path: Path) -> Result | str:
    """Do the work on a file of a user, or return a sentence that says why it cannot be done."""
    outcome: Result | LeftOut
    try:
        outcome = attempt(work, path.name)
    except (ValueError, OSError) as error:
        outcome = LeftOut(describe_error(error))
    except Exception:  # the page goes on for the next image
        traceback.print_exc()
        outcome = LeftOut(
            f"{path.name} made the program fail, which is an error of the program; the terminal "
            "says more."
        )
    if isinstance(outcome, LeftOut):
        return outcome.reason.replace(f"{path.parent}{os.sep}", "")
    return outcome
