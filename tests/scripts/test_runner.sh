#!/usr/bin/env bash
# tools/test itself: what passes counts, and nothing that fails can pass for a success.
#
# Runs a copy of it on a made-up clone whose test programs are scripts.
#
# SPDX-License-Identifier: BSL-1.0
set -u
here="$(cd "$(dirname "$0")/../.." && pwd)"
clone="$(mktemp -d)"
trap 'rm -rf "$clone"' EXIT
mkdir -p "$clone/tools" "$clone/tests/scripts" "$clone/build/tests"
cp "$here/tools/test" "$here/tools/lib.sh" "$clone/tools/"
# Nothing to build: the runner goes on to the programs at once.
printf 'build all: phony\ndefault all\n' >"$clone/build/build.ninja"

put() {
    cat >"$1"
    chmod +x "$1"
}
clear_programs() { rm -f "$clone"/build/tests/* "$clone"/tests/scripts/*; }
summary() { printf '#!/bin/sh\necho "[doctest] test cases:  %s"\n' "$1"; }

# expect NAME "last line" status: runs the made-up clone and compares.
expect() {
    local said status
    said="$(env -u SHMBUS_BUILD_DIR SHMBUS_TEST_SECONDS=2 "$clone/tools/test" 2>"$clone/errors")"
    status=$?
    if [ "$(tail -n 1 <<<"$said")" = "$2" ] && [ "$status" -eq "$3" ]; then
        echo "ok $1"
    else
        echo "not ok $1: status $status, said:"
        printf '%s\n' "$said" "$(cat "$clone/errors")" | sed 's/^/    /'
    fi
}

summary '3 |  3 passed | 0 failed | 0 skipped' | put "$clone/build/tests/test_a"
summary '2 |  1 passed | 0 failed | 1 skipped' | put "$clone/build/tests/test_b"
printf '#!/bin/sh\necho "ok one"\necho "skip two: no disk"\n' | put "$clone/tests/scripts/c.sh"
expect 'passes are summed over programs and scripts' '5 passed, 0 failed' 0

clear_programs
expect 'a run without any test is no success' '0 passed, 0 failed' 1

{ summary '3 |  2 passed | 1 failed | 0 skipped'; echo 'exit 1'; } | put "$clone/build/tests/test_a"
expect 'a failed case is counted' '2 passed, 1 failed' 1

{ summary '3 |  3 passed | 0 failed | 0 skipped'; echo "kill -9 \$\$"; } |
    put "$clone/build/tests/test_a"
expect 'a program that dies after its summary has failed' '3 passed, 1 failed' 1

{
    printf '#!/bin/sh\necho "$SHMBUS_TEST_MEMORY" >"%s/place"\n' "$clone"
    printf 'echo "full" >"$SHMBUS_TEST_MEMORY/left"\nkill -9 $$\n'
} | put "$clone/build/tests/test_a"
expect 'a program that dies with something in memory has failed' '0 passed, 1 failed' 1
if [ -s "$clone/place" ] && [ ! -e "$(cat "$clone/place")" ]; then
    echo 'ok what it left there is removed'
else
    echo "not ok what it left there is removed: $(ls -d "$(cat "$clone/place")"* 2>&1)"
fi

printf '#!/bin/sh\nexit 0\n' | put "$clone/build/tests/test_a"
expect 'a program that says nothing has failed' '0 passed, 1 failed' 1

printf '#!/bin/sh\nsleep 60\n' | put "$clone/build/tests/test_a"
expect 'a program that hangs has failed' '0 passed, 1 failed' 1

clear_programs
printf '#!/bin/sh\necho "ok one"\necho "not ok two"\n' | put "$clone/tests/scripts/c.sh"
expect 'a failed check of a script is counted' '1 passed, 1 failed' 1

printf '#!/bin/sh\necho "ok one"\nexit 3\n' | put "$clone/tests/scripts/c.sh"
expect 'a script that ends badly has failed' '1 passed, 1 failed' 1

printf '#!/bin/sh\ntrue\n' | put "$clone/tests/scripts/c.sh"
expect 'a script that checks nothing has failed' '0 passed, 1 failed' 1

clear_programs
printf 'rule fail\n command = false\nbuild all: fail\ndefault all\n' >"$clone/build/build.ninja"
expect 'a build that fails is a failure' '0 passed, 1 failed' 1
