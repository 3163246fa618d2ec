"""Try damaged files; `python tests/fuzz.py --help` says more.

python tests/fuzz.py checkpoints --count 500 --seed 0
"""

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    # As a script it would find tests/cloudkit in place of cloudkit, so it starts as a module.
    command = [sys.executable, "-m", "tests.fuzzing", *sys.argv[1:]]
    sys.exit(subprocess.call(command, cwd=Path(__file__).parents[1]))
