"""Layout of the web page, in gradio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from webpage.actions import MAP, NO_IMAGE, Actions
from webpage.options import PageOptions, Work

_INTRODUCTION = """# Remove thin cloud from satellite images

Upload an image, or choose an example, then press **Remove cloud**. It is restored on this machine
and sent nowhere. Opaque cloud stays as it is. Images may have up to {limit:g} megapixels;
`ThiefCloud/predict.py` takes larger ones, and folders."""
_STYLE = "footer {display: none !important}"
_SWEEP = (600, 6 * 3600)  # seconds between looks for old files, and their age
# Nothing is loaded from other hosts: gradio's own themes name fonts of the network.
_FONTS = ("system-ui", "sans-serif")
_MONOSPACE = ("ui-monospace", "monospace")
_BYTES_PER_PIXEL = 128  # of a file, at most: 16 bands of 64 bits


def build(actions: Actions) -> gr.Blocks:
    """Lay out the page, and say what its buttons do."""
    with gr.Blocks(
        title="ThiefCloud", analytics_enabled=False, delete_cache=_SWEEP, fill_width=True
    ) as page:
        work = gr.State(None, delete_callback=_discard)
        finished = gr.State(None)
        gr.Markdown(_INTRODUCTION.format(limit=actions.options.megapixels))
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                file, gallery = _inputs(actions.examples)
                with gr.Row():
                    options = [
                        gr.Textbox(
                            label="Red, green, blue (--bands)",
                            placeholder="such as 4 3 2",
                            max_lines=1,
                            elem_id="bands",
                        ),
                        gr.Textbox(
                            label="Value of white (--peak)",
                            placeholder="as the file says",
                            max_lines=1,
                            elem_id="peak",
                        ),
                    ]
                button = gr.Button(
                    "Remove cloud", variant="primary", interactive=False, elem_id="restore"
                )
                message = gr.Textbox(
                    NO_IMAGE, show_label=False, container=False, lines=2, elem_id="message"
                )
                with gr.Row(visible=False) as downloads:
                    files = [
                        gr.DownloadButton("Download image", elem_id="download"),
                        gr.DownloadButton("Download thickness", elem_id="thickness"),
                    ]
            with gr.Column(scale=3), gr.Column(visible=False) as results:
                pair, views = _outputs()

        chosen = [work, message, button, finished, results, downloads]
        shown = [message, finished, results, pair, *views, *files, downloads]
        _, place, text, window = views
        private: dict[str, Any] = {"api_visibility": "private"}
        file.upload(actions.upload, [work, file, *options], [*chosen, file], **private)
        gallery.select(actions.choose_example, [work, *options], chosen, **private)
        button.click(actions.restore, [work, *options], shown, show_progress_on=message, **private)
        place.select(actions.look, [finished], [message, place, text, window], **private)
    return page


def _inputs(examples: Sequence[Path]) -> tuple[gr.File, gr.Gallery]:
    """Lay out the places to choose an image."""
    gr.Markdown("**Your image**: PNG, JPEG or TIFF")
    file = gr.File(show_label=False, height=120, elem_id="upload")
    gr.Markdown("**Examples**: Landsat under simulated cloud")
    gallery = gr.Gallery(
        [str(path) for path in examples],
        show_label=False,
        columns=4,
        height=254,
        allow_preview=False,
        buttons=[],
        interactive=False,
        elem_id="examples",
    )
    return file, gallery


def _outputs() -> tuple[gr.ImageSlider, list[Any]]:
    """Lay out the pictures: the overview; caption, map, text and window at full resolution."""
    gr.Markdown("**Before and after.** Move the slider.")
    pair = _slider("overview")
    with gr.Row():
        with gr.Column():
            caption = gr.Markdown(MAP)
            place = gr.Image(
                format="png", show_label=False, buttons=[], interactive=False, elem_id="map"
            )
        with gr.Column():
            text = gr.Markdown(elem_id="place")
            window = _slider("window")
    return pair, [caption, place, text, window]


def _slider(name: str) -> gr.ImageSlider:
    return gr.ImageSlider(
        format="png", show_label=False, buttons=["fullscreen"], max_height=560, elem_id=name
    )


def serve(page: gr.Blocks, options: PageOptions) -> str:
    """Serve the page to this machine alone, and return its address.

    Raises:
        OSError: the port is taken.
    """
    _, address, _ = page.launch(
        server_name="127.0.0.1",
        server_port=options.port,
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        show_error=False,
        footer_links=[],
        run_history=False,
        max_file_size=int(options.megapixels * 1e6 * _BYTES_PER_PIXEL),
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=_FONTS, font_mono=_MONOSPACE),
        css=_STYLE,
    )
    return address


def _discard(work: Work | None) -> None:
    """Remove the files of a user whose tab was closed."""
    if work is not None:
        work.discard()
