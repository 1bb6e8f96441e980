#!/usr/bin/env bash
# Fuzzing with clang's libFuzzer under the address and undefined-behaviour sanitizers: control
# frames at the daemon's registrar, and a lane and an inbox scribbled on while they are read.
#
#   SHMBUS_FUZZ_SECONDS   how long both run, at the same time (20)
#
# An input that breaks something is kept in $SHMBUS_BUILD_ROOT/fuzz and named.
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/sanitized.sh
. "$(dirname "$0")/sanitized.sh"
kept="${SHMBUS_BUILD_ROOT:-$root/build}/fuzz"
seconds="${SHMBUS_FUZZ_SECONDS:-20}"
mkdir -p "$kept"

if ! command -v clang++ >/dev/null; then
    echo 'skip fuzz: there is no clang++ (Debian: clang, libclang-rt-14-dev)'
    exit 0
fi
if ! can_fuzz; then
    echo 'skip fuzz: clang++ has no libFuzzer (Debian: libclang-rt-14-dev)'
    exit 0
fi
# The examples: they link if the shared library shows all that programs call, with clang too.
if ! make_sanitized address address,undefined tests/fuzz/fuzz_frames tests/fuzz/fuzz_scribbles \
    tools/examples/example-durable tools/examples/example-request >"$kept/build.log" 2>&1; then
    echo 'not ok fuzz: does not build'
    tail -n 40 "$kept/build.log" | sed 's/^/    /'
    exit 1
fi

start() {
    mkdir -p "$kept/$1.corpus"
    exec "$sanitized/address/tests/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len=2048 -print_final_stats=1 -artifact_prefix="$kept/$1-" \
        "$kept/$1.corpus" >"$kept/$1.log" 2>&1
}
# fuzzed NAME program process: what became of it, one line.
fuzzed() {
    if wait "$3"; then
        echo "ok $1"
        sed -n 's/^stat::number_of_executed_units: */    inputs: /p' "$kept/$2.log"
    else
        echo "not ok $1"
        tail -n 60 "$kept/$2.log" | sed 's/^/    /'
    fi
}

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
start frames &
frames=$!
start scribbles &
fuzzed 'no scribble on a lane or an inbox harms its reader' scribbles $!
fuzzed 'no control frame harms the daemon' frames "$frames"
