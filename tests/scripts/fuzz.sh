#!/usr/bin/env bash
# Fuzzing with clang's libFuzzer under the address and undefined-behaviour sanitizers: control
# frames at the daemon's registrar, and a lane and an inbox scribbled on while they are read.
#
#   SHMBUS_FUZZ_SECONDS   how long each runs (20)
#
# Compiles only the rooms that are fuzzed, to $SHMBUS_BUILD_ROOT/fuzz; what is new is compiled anew.
# An input that breaks something is kept there and named.
#
# SPDX-License-Identifier: BSL-1.0
set -u
root="${SHMBUS_SOURCE_ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
build="${SHMBUS_BUILD_ROOT:-$root/build}/fuzz"
seconds="${SHMBUS_FUZZ_SECONDS:-20}"
mkdir -p "$build"

skip_all() {
    echo "skip fuzz: $1"
    exit 0
}

command -v clang++ >/dev/null || skip_all 'there is no clang++ (Debian: clang, libclang-rt-14-dev)'
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
    clang++ -x c++ - -fsanitize=fuzzer,address -o "$build/probe" 2>"$build/probe.log" ||
    skip_all 'clang++ has no libFuzzer (Debian: libclang-rt-14-dev)'

compiler=(clang++)
command -v ccache >/dev/null && compiler=(ccache clang++)
flags=(-std=c++20 -O1 -g -Wall -Wextra -fno-omit-frame-pointer -fno-sanitize-recover=all
    -fsanitize=fuzzer-no-link,address,undefined -I"$root/include" -I"$root/src" -I"$root/tests")
link=(-fsanitize=fuzzer,address,undefined -pthread)

# One object per source, named after its path; older than its source or any header: made anew.
object_of() { printf '%s/%s.o' "$build" "$(tr / _ <<<"${1#"$root"/}")"; }
newest_header="$(find "$root/include" "$root/src" "$root/tests" -name '*.h' -printf '%T@ %p\n' |
    sort -n | tail -n 1 | cut -d' ' -f2-)"
is_stale() { [ ! -f "$2" ] || [ "$1" -nt "$2" ] || [ "$newest_header" -nt "$2" ]; }

inside=("$root"/src/base/*.cc "$root"/src/wire/*.cc "$root"/src/lane/*.cc)
daemon=("$root"/src/directory/*.cc "$root"/src/journal/*.cc)
for room in registrar state home inboxes reaper durable intake journal_meter outlet kept_rows; do daemon+=("$root/src/daemon/$room.cc"); done

# build PROGRAM source...: an executable beside its objects.
build() {
    local program="$build/$1" source object stale=() objects=()
    shift
    for source in "$@"; do
        object="$(object_of "$source")"
        objects+=("$object")
        if is_stale "$source" "$object"; then stale+=("$source" "$object"); fi
    done
    if [ ${#stale[@]} -gt 0 ]; then
        printf '%s\n' "${stale[@]}" |
            xargs -n 2 -P 2 "$BASH" -c 'object="${!#}"; set -- "${@:1:$#-1}"; "$@" -o "$object"' \
                compile "${compiler[@]}" "${flags[@]}" -c || return 1
    elif [ -x "$program" ]; then
        return 0
    fi
    clang++ "${link[@]}" "${objects[@]}" -o "$program"
}

# fuzz NAME program source...: builds, runs, one line.
fuzz() {
    local name="$1" program="$2" log="$build/$2.log"
    shift 2
    if ! build "$program" "$@" >"$log" 2>&1; then
        echo "not ok $name: does not build"
        sed 's/^/    /' "$log"
        return
    fi
    mkdir -p "$build/$program.corpus"
    if "$build/$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=2048 \
        -print_final_stats=1 -artifact_prefix="$build/$program-" "$build/$program.corpus" \
        >"$log" 2>&1; then
        echo "ok $name"
        sed -n 's/^stat::number_of_executed_units: */    inputs: /p' "$log"
    else
        echo "not ok $name"
        tail -n 60 "$log" | sed 's/^/    /'
    fi
}

fuzz 'no control frame harms the daemon' frames \
    "$root/tests/fuzz/frames.cc" "${inside[@]}" "${daemon[@]}"
fuzz 'no scribble on a lane or an inbox harms its reader' scribbles \
    "$root/tests/fuzz/scribbles.cc" "${inside[@]}"
