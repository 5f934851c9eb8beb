#!/bin/sh
# Builds everything in release mode and prints the table of speed goals. Arguments go to `goals`:
#   benches/run.sh --only 1,5 --rounds 20
#   benches/run.sh --self-check
# A full run takes about eight minutes; nothing else should run meanwhile.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --package benches --bins
case " $* " in
    *" --self-check "* | *" --bev "*) ;;
    *) cargo build --release --package bev ;;
esac
exec "${CARGO_TARGET_DIR:-target}/release/goals" "$@"
