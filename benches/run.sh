#!/bin/sh
# Builds everything in release mode and prints the table of speed goals. Arguments go to `goals`:
#   benches/run.sh --only 1,5 --rounds 20
#   benches/run.sh --self-check
# Goals 14 to 19 are read from the results of `cargo bench`, which runs first unless goals are named, and prints libevent's
# simulation of rate limits on both libraries.
# A full run takes about half an hour, most of it to build; nothing else should run meanwhile.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --package benches --bins
case " $* " in
    *" --self-check "* | *" --bev "*) ;;
    *) cargo build --release --package bev ;;
esac
case " $* " in
    *" --self-check "* | *" --only"*) ;;
    *) cargo bench --package benches --benches -- --quiet --warm-up-time 0.3 --measurement-time 1 ;;
esac
exec "${CARGO_TARGET_DIR:-target}/release/goals" "$@"
