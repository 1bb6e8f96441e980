#!/usr/bin/env bash
# A storm of a thousand SIGKILLs over senders, publishers, competing receivers, half of them with
# several handler threads, and the daemon: nothing accepted is lost, nothing appears that was not
# sent, no duplicate is unmarked, each sender's order holds. And two faults made on purpose, which
# the account must find.
#
#   SHMBUS_STORM_KILLS   how many (1000)
#
# SPDX-License-Identifier: BSL-1.0
set -u
root="${SHMBUS_SOURCE_ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
build="${SHMBUS_BUILD_ROOT:-$root/build}"
kills="${SHMBUS_STORM_KILLS:-1000}"
storm="$build/tests/system/system_storm"
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

# weather NAME option...: a storm that must end well.
weather() {
    local name="$1"
    shift
    if "$storm" "$@" >"$said" 2>&1; then tell ok "$name"; else tell 'not ok' "$name"; fi
}

# planted NAME fault "sentence": a storm in which the account must find exactly this fault.
planted() {
    if "$storm" --kills 40 --seconds 60 --plant "$2" >"$said" 2>&1; then
        tell 'not ok' "$1"
    elif grep -q "^wrong: $3" "$said"; then
        echo "ok $1"
    else
        tell 'not ok' "$1"
    fi
}

weather "a storm of $kills kills loses nothing and invents nothing" --kills "$kills"
weather 'one receiver alone handles what each sender sent in its order' \
    --kills 100 --receivers 1 --threads 1 --seconds 60
planted 'a planted loss is found' loss 'lost: '
planted 'a planted unmarked duplicate is found' duplicate 'handled twice without a mark: '
