"""`import thiefcloud` is for users of trained weights, and loads nothing else."""

import subprocess
import sys

TRAINING_CODE = (
    "cloudkit.training",
    "cloudkit.scoring",
    "cloudkit.data",
    "thiefcloud.training",
    "thiefcloud.data",
    "scpm.data",
)


def test_import_loads_no_training_code() -> None:
    program = "import sys, thiefcloud; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    modules = shown.stdout.decode().split()
    assert "thiefcloud.inference.weights" in modules
    assert [name for name in modules if name.startswith(TRAINING_CODE)] == []
