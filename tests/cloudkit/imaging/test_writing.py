"""A file is complete or absent."""

import subprocess
import sys
from pathlib import Path

import pytest

FULL_DISK = """
import resource, signal, sys
import torch
from cloudkit.imaging.images import write_image

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_image(sys.argv[1], torch.rand(3, 20, 30), bits=int(sys.argv[2]))
except OSError:
    print("reported")
"""


@pytest.mark.parametrize(("name", "bits"), [("a.tif", 8), ("a.tif", 32), ("a.png", 16)])
def test_a_full_disk_is_reported_and_leaves_no_file(tmp_path: Path, name: str, bits: int) -> None:
    # -B: Python would cut the bytecode that it writes, too, and keep it for the next program.
    command = [sys.executable, "-B", "-c", FULL_DISK, str(tmp_path / name), str(bits)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "reported\n", done.stderr
    assert not list(tmp_path.iterdir())
