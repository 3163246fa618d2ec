"""The page of ThiefCloud/app.py in a process of its own, and a user of it in headless Chromium."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers import APP

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
MEGAPIXELS = 0.1
WAIT = 60_000  # milliseconds


class App(NamedTuple):
    address: str
    folder: Path
    """Folder of its temporary files."""
    process: subprocess.Popen[str]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def temporary(app: App) -> list[Path]:
    """Return the folders of the page."""
    return list(app.folder.glob("thiefcloud-*"))


def start(checkpoint: Path, folder: Path) -> App:
    """Start the page in a process of its own, which keeps files of closed tabs for a second."""
    port = free_port()
    limits = ["--megapixels", str(MEGAPIXELS), "--tile", "32", "--device", "cpu"]
    command = [sys.executable, str(APP), "--port", str(port), "--checkpoint", str(checkpoint)]
    environment = {**os.environ, "TMPDIR": str(folder), "GRADIO_IS_E2E_TEST": "1"}
    process = subprocess.Popen(
        [*command, *limits], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith(f"open http://127.0.0.1:{port}/ in a browser")
    return App(f"http://127.0.0.1:{port}/", folder, process)


def stop(app: App) -> int:
    app.process.send_signal(signal.SIGTERM)
    return app.process.wait(60)


class User:
    """A tab with the page, and all addresses that it asked for."""

    def __init__(self, chromium: Any, app: App) -> None:
        self.context = chromium.new_context(viewport={"width": 1280, "height": 1000})
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(app.address)
        self.page.wait_for_selector("#upload input[type=file]", state="attached", timeout=WAIT)

    @property
    def message(self) -> str:
        return str(self.page.input_value("#message textarea"))

    def waits(self, *parts: str) -> None:
        """Wait for a message with these parts."""
        deadline = time.monotonic() + WAIT / 1000
        while not all(part in self.message for part in parts):
            assert time.monotonic() < deadline, self.message
            self.page.wait_for_timeout(100)

    def uploads(self, path: Path) -> None:
        self.page.set_input_files("#upload input[type=file]", path)

    def fills(self, name: str, text: str) -> None:
        self.page.fill(f"#{name} input, #{name} textarea", text)

    def presses_restore(self) -> None:
        self.page.wait_for_timeout(1000)  # a click at the moment of an answer is passed over
        self.page.click("#restore")

    def restores(self, name: str) -> None:
        self.presses_restore()
        self.waits(f"{name} is restored")
        self.page.wait_for_selector("#overview img >> nth=1", timeout=WAIT)

    def downloads(self, button: str, folder: Path) -> Path:
        with self.page.expect_download(timeout=WAIT) as event:
            self.page.click(f"#{button}")
        path = folder / event.value.suggested_filename
        event.value.save_as(path)
        return path

    def cut(self, name: str) -> float:
        """Return where a slider stands, in percent of the picture."""
        style = self.page.locator(f"#{name} img.fixed").get_attribute("style")
        return float(style.split("clip-path: inset(")[1].split("%")[0].split()[-1])
