#!/bin/sh
# Tells how many tests were skipped in the last run of them all, which, and why: from the file that they wrote it to.
set -eu

if [ -s "$SKIPPED_TESTS" ]; then
    printf 'tests skipped: %d\n' "$(wc -l <"$SKIPPED_TESTS")"
    sort "$SKIPPED_TESTS" | sed 's/^/  /'
else
    echo "tests skipped: 0"
fi
