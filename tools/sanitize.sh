#!/bin/sh
# Runs the test suites under a sanitizer of the stable compiler: `tools/sanitize.sh thread` or `... address`. Further
# arguments go to cargo, for example `--package bufferevent --test echo`.
#
# The standard library is not instrumented, so the thread sanitizer misjudges std's locks, channels and fences, which is
# why the crates use none; what is left of that is in tools/tsan.supp. Doctests are not run: they would have to be
# built with the same flags.
set -eu

cd "$(dirname "$0")/.."
sanitizer=${1:?thread or address}
shift
[ $# -gt 0 ] || set -- --package bufferevent --package bufferevent-runtime --package bufferevent-sync \
    --package bufferevent-evbuffer

RUSTC_BOOTSTRAP=1
RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer"
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/$sanitizer"
TSAN_OPTIONS="suppressions=$PWD/tools/tsan.supp ${TSAN_OPTIONS:-}"
BEV_SANITIZER=$sanitizer
export RUSTC_BOOTSTRAP RUSTFLAGS CARGO_TARGET_DIR TSAN_OPTIONS BEV_SANITIZER

# With a target named, the flags reach the tests and not build scripts and macros.
target=$(rustc -vV | sed -n 's/^host: //p')
exec cargo test --target "$target" --lib --tests --no-fail-fast "$@"
