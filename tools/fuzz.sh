#!/bin/sh
# Runs each fuzz target (or those named) for FUZZ_SECONDS, 60 by default. Needs a nightly compiler and a C++ compiler, and no
# cargo-fuzz: the flags are those that it gives. What is found new stays in target/fuzz/TARGET, a failure in target/fuzz.
set -eu

cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
out=$PWD/target/fuzz

export CARGO_TARGET_DIR="$out/build" CARGO_INCREMENTAL=0
export RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

for target in ${*:-server client conversation}; do
    mkdir -p "$out/$target"
    cargo +nightly run --manifest-path fuzz/Cargo.toml --release --target "$host" --bin "$target" -- \
        "$out/$target" "fuzz/corpus/$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 \
        -artifact_prefix="$out/$target-" -print_final_stats=1
done
