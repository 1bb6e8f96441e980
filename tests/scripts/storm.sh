#!/usr/bin/env bash
# A storm of a thousand SIGKILLs over senders, publishers, competing receivers, half of them with
# several handler threads, and the daemon: nothing accepted is lost, nothing appears that was not
# sent, no duplicate is unmarked, each sender's order holds. A smaller one over durable messages and
# what handlers send for them, in which the machine boots now and then. And in both two faults made
# on purpose, which the account must find.
#
#   SHMBUS_STORM_KILLS   how many in the first (1000)
#
# SPDX-License-Identifier: BSL-1.0
set -u
root="${SHMBUS_SOURCE_ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
build="${SHMBUS_BUILD_ROOT:-$root/build}"
kills="${SHMBUS_STORM_KILLS:-1000}"
storm="$build/tests/system/system_storm"
errands="$build/tests/system/system_errands"
export SHMBUS_DAEMON="$build/tools/shmbusd"

if [ ! -x "$storm" ]; then
    echo 'skip storm: it was not built, for the daemon was not'
    exit 0
fi

said="$(mktemp)"
trap 'rm -f "$said"' EXIT

# tell ok|not NAME: the line, and what the storm said.
tell() {
    echo "$1 $2"
    sed 's/^/    /' "$said"
}

# weather NAME program option...: a storm that must end well.
weather() {
    local name="$1"
    shift
    if "$@" >"$said" 2>&1; then tell ok "$name"; else tell 'not ok' "$name"; fi
}

# planted NAME program fault "sentence": a storm in which the account must find exactly this fault.
planted() {
    if "$2" --kills 40 --seconds 60 --plant "$3" >"$said" 2>&1; then
        tell 'not ok' "$1"
    elif grep -q "^wrong: $4" "$said"; then
        echo "ok $1"
    else
        tell 'not ok' "$1"
    fi
}

weather "a storm of $kills kills loses nothing and invents nothing" \
    "$storm" --kills "$kills"
weather 'one receiver alone handles what each sender sent in its order' \
    "$storm" --kills 100 --receivers 1 --threads 1 --seconds 60
planted 'a planted loss is found' "$storm" loss 'lost: '
planted 'a planted unmarked duplicate is found' "$storm" duplicate \
    'handled twice without a mark: '
weather 'what is on disk, and what handlers send for it, outlives deaths and boots' \
    "$errands" --kills 300
planted 'a planted loss behind the journal is found' "$errands" loss 'lost: errand 40 at books'
planted 'a planted unmarked duplicate behind the journal is found' "$errands" duplicate \
    'handled twice without a mark: errand 40 at books'
