#!/bin/sh
# Runs the test suites under a sanitizer of the stable compiler: `tools/sanitize.sh thread` or `... address`. Other
# tests than all can be named as for cargo: `tools/sanitize.sh thread --package bufferevent --test echo`.
#
# The standard library is not instrumented, so the thread sanitizer misjudges std's locks, channels, fences and OnceLock,
# and scoped threads that nobody joins by hand; the crates use none of them, tests should not. What is left of that is
# in tools/tsan.supp. Doctests are not run: they would have to be built with the same flags.
set -eu

cd "$(dirname "$0")/.."
sanitizer=${1:?thread or address}
shift
[ $# -gt 0 ] || set -- --package bufferevent --package bufferevent-runtime --package bufferevent-sync \
    --package bufferevent-evbuffer --package bufferevent-ratelimit --package bufferevent-ssl --lib --tests

RUSTC_BOOTSTRAP=1
RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer"
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/$sanitizer"
# Tests ask for more memory than there is and expect a refusal.
TSAN_OPTIONS="suppressions=$PWD/tools/tsan.supp allocator_may_return_null=1 ${TSAN_OPTIONS:-}"
ASAN_OPTIONS="allocator_may_return_null=1 ${ASAN_OPTIONS:-}"
# Panics that tests bring about need no backtrace, and std takes it without synchronisation that the sanitizer sees.
RUST_BACKTRACE=0
export RUST_BACKTRACE RUSTC_BOOTSTRAP RUSTFLAGS CARGO_TARGET_DIR TSAN_OPTIONS ASAN_OPTIONS

# With a target named, the flags reach the tests and not build scripts and macros.
target=$(rustc -vV | sed -n 's/^host: //p')
exec cargo test --target "$target" --no-fail-fast "$@"
