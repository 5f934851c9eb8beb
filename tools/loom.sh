#!/bin/sh
# Runs the loom models and their mutants: `tools/loom.sh quick` or `tools/loom.sh full`; further arguments go to the test
# programs. `tools/loom.sh lint` runs clippy on the code that only loom sees. A folder of its own, since the flag
# changes every crate.
set -eu

cd "$(dirname "$0")/.."
mode=${1:?quick, full or lint}
shift

BEV_LOOM=$mode
RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }--cfg loom"
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
export BEV_LOOM RUSTFLAGS CARGO_TARGET_DIR
[ "$mode" != lint ] ||
    exec cargo clippy --profile loom --package loom-tests --all-targets -- -D warnings
exec cargo test --profile loom --package loom-tests --no-fail-fast -- "$@"
