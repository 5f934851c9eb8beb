#!/bin/sh
# Checks what neither the compiler nor clippy does: who may import whom (ARCHITECTURE.md), where atomics and unsafe
# code may stand, that each memory ordering in shipped code has its ORDER comment, and each test a census. One line a finding.
set -eu

cd "$(dirname "$0")/.."
failed=0

# Prints the findings $2, if there are any, under the title $1.
report() {
    [ -n "$2" ] || return 0
    printf '%s:\n%s\n' "$1" "$2" | sed '2,$s/^/  /' >&2
    failed=1
}

members=$(sed -n 's/^members = \[\(.*\)\]$/\1/p' Cargo.toml | tr -d '",')

# The dependencies that the manifest of crate $1 names, of every kind and for every target, by package name.
dependencies() {
    awk '
        /^\[/ {
            inside = $0 ~ /dependencies\]$/
            if (match($0, /dependencies\.[A-Za-z0-9_-]+\]$/)) {
                print substr($0, RSTART + 13, RLENGTH - 14)
            }
            next
        }
        inside && /^[A-Za-z0-9_-]+(\.[a-z]+)? *=/ {
            name = $1
            sub(/\..*/, "", name)
            if (match($0, /package *= *"[^"]+"/)) {
                name = substr($0, RSTART, RLENGTH)
                gsub(/package *= *|"/, "", name)
            }
            print name
        }
    ' "$1/Cargo.toml"
}

# The folder of one of our packages.
folder() {
    case "$1" in
        bufferevent) echo bufferevent ;;
        bufferevent-*) echo "${1#bufferevent-}" ;;
        bev) echo cli ;;
        *) echo "$1" ;;
    esac
}

# Whether folder $1 may depend on our folder $2. What nobody imports may depend on everything that somebody may; the
# documents show filters of the examples.
may_import() {
    case "$1:$2" in
        ratelimit:sync | runtime:sync) ;;
        bufferevent:sync | bufferevent:evbuffer | bufferevent:ratelimit | bufferevent:runtime) ;;
        ssl:bufferevent | ssl:sync) ;;
        sync:* | evbuffer:* | ratelimit:* | runtime:* | bufferevent:* | ssl:*) return 1 ;;
        tools/readme-tests:examples) ;;
        *:sync | *:evbuffer | *:ratelimit | *:runtime | *:bufferevent | *:ssl) ;;
        *) return 1 ;;
    esac
}

# Whether folder $1 may name the foreign package $2: some have one home.
may_name() {
    case "$2" in
        loom | parking_lot* | lock_api | crossbeam*) case "$1" in sync | loom-tests | benches) ;; *) return 1 ;; esac ;;
        libfuzzer-sys) case "$1" in fuzz) ;; *) return 1 ;; esac ;;
        polling) case "$1" in runtime | benches) ;; *) return 1 ;; esac ;;
        openssl* | foreign-types) case "$1" in ssl | benches) ;; *) return 1 ;; esac ;;
        *) case "$1:$2" in evbuffer:bytes | evbuffer:proptest) ;; evbuffer:*) return 1 ;; esac ;;
    esac
}

check_graph() {
    # fuzz is no member: it needs another compiler.
    for member in $members fuzz; do
        for package in $(dependencies "$member"); do
            to=$(folder "$package")
            # With a feature for its own tests.
            [ "$to" != "$member" ] || continue
            case " $members " in
                *" $to "*) may_import "$member" "$to" || echo "$member -> $to" ;;
                *) may_name "$member" "$package" || echo "$member -> $package" ;;
            esac
        done
    done
}

# What ships. The models of sync stand for what ships and are no part of it; tests may do as they like.
shipped() {
    for member in $members; do
        case "$member" in benches | loom-tests | examples | tools/*) ;; *) echo "$member/src" ;; esac
    done
}
sources() {
    # shellcheck disable=SC2046 # one word a folder
    find $(shipped) -name '*.rs' ! -name tests.rs ! -path '*/tests/*' ! -path 'sync/src/model*' | sort
}

# Runs an awk program over the shipped sources, without comments, and without the test modules at their ends. The
# program sees the code of a line in `code` and the comment in `comment`.
over_code() {
    # shellcheck disable=SC2046 # one word a file
    awk '
        FNR == 1 { tests = maybe = using = 0; used = 1 }
        maybe && /^(pub )?mod [a-z_]+ \{/ { tests = 1 }
        { maybe = /^#\[cfg\((all\()?test/ || maybe && /^#\[/ }
        tests { next }
        { at = index($0, "//"); code = at ? substr($0, 1, at - 1) : $0; comment = at ? substr($0, at) : "" }
        { using = code ~ /^ *(pub(\([a-z]+\))? )?use / || using && !used }
        { used = code ~ /;/ }
    '"$1" $(sources)
}

# The program may also ask whether a line is inside a use declaration: `using`.
check_atomics() {
    over_code '
        using { statement = statement code }
        using && code ~ /;/ {
            if (FILENAME !~ /^sync\// && statement ~ /(std|core)::/ && statement ~ /[^a-z_]atomic[^a-z_]/) {
                print FILENAME ":" FNR ": " statement
            }
            statement = ""
        }
        !using && FILENAME !~ /^sync\// && code ~ /(std|core)::sync::atomic/ { print FILENAME ":" FNR ":" code }
    '
}

# Nothing follows from what a Debug shows, and a mutant is wrong on purpose.
check_orderings() {
    over_code '
        FNR == 1 { order = mutant = -99 }
        comment ~ /ORDER/ { order = FNR }
        code ~ /mutant::/ { mutant = FNR }
        code ~ /fn [a-z_]+[(<]/ { shows = code ~ /fn fmt\(/ }
        using || shows || FNR - mutant <= 2 || FNR - order <= 10 || FILENAME == "sync/src/mutant.rs" { next }
        code ~ /Ordering::(Relaxed|Acquire|Release|AcqRel|SeqCst)/ ||
        code ~ /(^|[ (,])(Relaxed|Acquire|Release|AcqRel|SeqCst)[,)]/ { print FILENAME ":" FNR ":" code }
    '
}

check_unsafe() {
    over_code '
        code ~ /(^|[^A-Za-z_])unsafe([^A-Za-z_]|$)/ && FILENAME !~ /^(runtime\/src\/selector\/|ssl\/src\/ffi\.rs)/ {
            print FILENAME ":" FNR ":" code
        }
    '
}

check_forbids() {
    for member in evbuffer ratelimit bufferevent cli; do
        for root in "$member/src/lib.rs" "$member/src/main.rs"; do
            [ ! -f "$root" ] || grep -q '^#!\[forbid(unsafe_code)\]' "$root" || echo "$root"
        done
    done
}

# Tests of one program run side by side: one without a census would make those of the others see its descriptors.
check_censuses() {
    find bufferevent/tests runtime/tests ssl/tests -name '*.rs' ! -name auto_traits.rs | sort | xargs awk '
        FNR == 1 { test = 0 }
        /^ *#\[test\]/ { test = FNR; counted = 0 }
        /Census::begin\(\)|[^a-z_]each(_[a-z_]+)?\(|check\(plan\)/ { counted = 1 }
        test && !counted && (/^ *let / && !/ONE_BY_ONE/ || /^( {4})?}$/) { print FILENAME ":" test; test = 0 }
        /^( {4})?}$/ { test = 0 }
    '
}

report "dependencies that ARCHITECTURE.md does not allow" "$(check_graph)"
report "atomics that loom cannot see; take them from bufferevent_sync" "$(check_atomics)"
report "memory orderings without an ORDER comment in the ten lines above" "$(check_orderings)"
report "unsafe code outside runtime/src/selector and ssl/src/ffi.rs" "$(check_unsafe)"
report "crates that do not forbid unsafe code" "$(check_forbids)"
report "tests that do not begin with a census" "$(check_censuses)"
exit "$failed"
