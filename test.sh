#!/usr/bin/env bash
# Everything that must hold: layout, lint, types, tests. Makes its environment in .venv; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
. ./environment.sh
ensure_environment dev

echo "== format and lint"
ruff format --check .
ruff check .
echo "== types"
mypy
echo "== tests"
# A process for each core, up to four, each with one thread: faster than one process with many threads.
OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
