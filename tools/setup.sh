#!/bin/sh
# Sees to what the build needs: a C compiler (Rust links with it), OpenSSL with its headers, and Rust. Missing packages are installed with apt-get
# where that is allowed (root, or sudo without a password); else it says what to type. Silent when nothing is missing.
#
#   tools/setup.sh          what `make demo` and `make test` need
#   tools/setup.sh --lint   clippy and rustfmt as well
#   tools/setup.sh --test   the programs of others that tests talk to as well, if that is allowed; without them it goes on
set -eu

cd "$(dirname "$0")/.."
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export PATH

# The one place that names the version is the workspace manifest.
needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
by_hand="type: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The command in front of apt-get: nothing for root, sudo where it asks for no password. Fails where neither works.
privilege() {
    if [ "$(id -u)" = 0 ]; then
        echo env
    elif have sudo && sudo -n true 2>/dev/null; then
        echo "sudo -n env"
    else
        return 1
    fi
}

# Installs packages, or says how.
install() {
    have apt-get || fail "needed: $*; install them with your system's package manager"
    as_root=$(privilege) || fail "needed: $*; type: sudo apt-get update && sudo apt-get install -y $*"
    say "installing $* with apt-get"
    # shellcheck disable=SC2086 # two words on purpose
    $as_root apt-get update -qq >&2
    # shellcheck disable=SC2086 # as above
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# Whether apt-get could install rustup.
offers_rustup() {
    have apt-get && have apt-cache || return 1
    if as_root=$(privilege); then
        # shellcheck disable=SC2086 # two words on purpose
        $as_root apt-get update -qq >&2 || return 1
    fi
    case "$(apt-cache policy rustup 2>/dev/null)" in
        *"Candidate: (none)"* | "") return 1 ;;
    esac
}

# The version of rustc, without what follows it, or nothing.
rust_version() {
    rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9.]*\).*/\1/p'
}

# Whether version $1 is at least $2.
at_least() {
    major=${1%%.*} minor=${1#*.}
    minor=${minor%%.*}
    [ "$major" -gt "${2%%.*}" ] || { [ "$major" -eq "${2%%.*}" ] && [ "$minor" -ge "${2#*.}" ]; }
}

need_compiler() {
    have cc && return
    install gcc libc6-dev make
    have cc || fail "there is still no C compiler named cc"
}

# OPENSSL_DIR names one that is built by hand.
need_openssl() {
    { [ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null; } && return
    install pkg-config libssl-dev
    pkg-config --exists openssl || fail "there is still no OpenSSL that pkg-config finds"
}

need_rust() {
    if ! have rustc && ! have rustup; then
        offers_rustup || fail "Rust $needed or newer is needed; $by_hand"
        install rustup ca-certificates
    fi
    if have rustup && [ -z "$(rust_version)" ]; then
        say "installing the stable toolchain with rustup"
        rustup default stable >&2 || fail "rustup could not install a toolchain; type: rustup default stable"
    fi
    version=$(rust_version)
    [ -n "$version" ] || fail "rustc does not run; to install Rust, $by_hand"
    if ! at_least "$version" "$needed"; then
        have rustup && fail "Rust $version is too old, $needed or newer is needed; type: rustup update stable"
        fail "Rust $version is too old, $needed or newer is needed; $by_hand"
    fi
    have cargo || fail "there is a rustc but no cargo; $by_hand"
}

# $1: cargo's subcommand, $2: the component of rustup, $3: the package of Debian and Ubuntu.
need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    if have rustup; then
        say "adding $2 with rustup"
        rustup component add "$2" >&2 || fail "rustup could not add $2; type: rustup component add $2"
    else
        install "$3"
    fi
    cargo "$1" --version >/dev/null 2>&1 || fail "cargo $1 still does not run"
}

# A test whose program is missing is skipped, and `make test` tells of it at its end. None of the packages starts a service.
want_programs() {
    missing=
    for pair in openssl:openssl curl:curl gnutls-cli:gnutls-bin redis-benchmark:redis-tools; do
        have "${pair%:*}" || missing="$missing ${pair#*:}"
    done
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086 # one word a package
    (install $missing) || say "going on without them: tests that need them are skipped"
}

need_compiler
need_openssl
need_rust
for also in "$@"; do
    case "$also" in
        --lint)
            need_component fmt rustfmt rustfmt
            need_component clippy clippy rust-clippy
            ;;
        --test) want_programs ;;
        *) fail "no such option: $also" ;;
    esac
done
