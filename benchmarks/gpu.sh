#!/usr/bin/env bash
# Training and frozen passes on a GPU beside timm's own loop, parity and resuming: benchmarks/gpu.sh [OPTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHONPATH=src:. exec python3 -m benchmarks.gpu "$@"
