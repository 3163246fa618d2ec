#!/usr/bin/env bash
# From a fresh machine to a table and a picture: simulates clouds over data/sample, trains SCPM, then ThiefCloud, and scores it.
# About ten minutes on two CPU cores after the installation. Results: runs/test.
set -euo pipefail
cd "$(dirname "$0")"
. ./environment.sh
ensure_environment

echo "== 1 of 3: train the cloud prior (SCPM)"
python SCPM/src/train_cd.py
echo "== 2 of 3: train the removal (ThiefCloud), prior frozen, then tunable"
python ThiefCloud/train.py
echo "== 3 of 3: score it on chips that no training saw"
python ThiefCloud/test.py
echo "look at runs/test/overview.png: cloudy, thickness, restored, clear"
