#!/usr/bin/env bash
# Training and frozen passes on a GPU beside timm's own loop, parity and resuming: benchmarks/gpu.sh [OUTPUT]
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHONPATH=src:. exec python3 -m benchmarks.gpu --output "${1:-/tmp/holotype-gpu}"
