#!/bin/sh
# Runs the loom models and their mutants: `tools/loom.sh quick` or `tools/loom.sh full`. Further arguments go to the
# test programs. A folder of its own, since the flag changes every crate.
set -eu

cd "$(dirname "$0")/.."
bounds=${1:?quick or full}
shift

BEV_LOOM=$bounds
RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }--cfg loom"
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
export BEV_LOOM RUSTFLAGS CARGO_TARGET_DIR
exec cargo test --profile loom --package loom-tests --no-fail-fast -- "$@"
