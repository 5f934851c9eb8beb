#!/bin/sh
# Checks licences, advisories and duplicates of the dependencies (deny.toml), if cargo-deny is installed.
set -eu

cd "$(dirname "$0")/.."
if ! cargo deny --version >/dev/null 2>&1; then
    echo "deny: cargo-deny is not installed, nothing was checked; type: cargo install --locked cargo-deny" >&2
    exit 0
fi
exec cargo deny --workspace check
