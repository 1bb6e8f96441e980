# shellcheck shell=bash
# What the scripted checks share: where things are, and one line per check. Sourced by bash.
#
# A script takes the build directory as its first argument, or in SHMBUS_BUILD_ROOT, or looks for
# build/. Each check prints "ok NAME", "not ok NAME" and why, or "skip NAME: reason".
#
# SPDX-License-Identifier: BSL-1.0
root="${SHMBUS_SOURCE_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
# shellcheck disable=SC2034  # used by those who source this
build="$(realpath -m "${1:-${SHMBUS_BUILD_ROOT:-$root/build}}")"
stage="$(mktemp -d)"
failed_checks=0

ok() { echo "ok $1"; }
not_ok() {
    failed_checks=$((failed_checks + 1))
    echo "not ok $1"
    tail -n 60 | sed 's/^/    /'
}
skip() { echo "skip $1: $2"; }

# check NAME command...: the command's output is shown if it fails.
check() {
    local name="$1"
    shift
    if "$@" >"$stage/said" 2>&1; then
        ok "$name"
    else
        not_ok "$name" <"$stage/said"
        return 1
    fi
}

# The daemons of buses below the directory $1: started by the library, so nobody's children. Each
# says its number in its log.
stop_daemons_below() {
    local log pid
    for log in "$1"/*/daemon.log; do
        [ -f "$log" ] || continue
        pid="$(sed -n 's/.*, process \([0-9]*\)$/\1/p' "$log" | tail -n 1)"
        # Only if that number is still that daemon.
        if [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null |
            grep -qF -- "$(dirname "$log")"; then
            kill "$pid"
        fi
    done
}

finish_checks() {
    stop_daemons_below "$stage/buses"
    rm -rf "$stage"
    exit $((failed_checks > 0))
}
trap finish_checks EXIT
