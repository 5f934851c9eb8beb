#!/bin/sh
# Runs every test program whose name has "stress" in it, in release mode, for about BEV_STRESS_SECONDS (60).
set -eu

cd "$(dirname "$0")/.."
BEV_STRESS_SECONDS=${BEV_STRESS_SECONDS:-60}
export BEV_STRESS_SECONDS
exec cargo test --release --workspace --test '*stress*' -- --nocapture "$@"
