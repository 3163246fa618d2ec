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
pytest "$@"
