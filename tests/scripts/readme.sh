#!/usr/bin/env bash
# What README.md shows compiles without warnings, runs and ends well, exactly as it stands there.
#
# Blocks of C++ behind a line "<!-- compile -->" are whole programs. A second argument names another
# file than README.md.
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/checks.sh
. "$(dirname "$0")/checks.sh"

readme="${2:-$root/README.md}"
name='the programs in README.md compile and run'
if [ ! -f "$readme" ]; then
    skip "$name" "there is no $readme"
    exit
fi
if [ ! -e "$build/src/libshmbus.so" ] || [ ! -x "$build/tools/shmbusd" ]; then
    skip "$name" "$build has no library and daemon"
    exit
fi
awk -v stage="$stage" '
    /^<!-- compile -->$/ { wanted = 1; next }
    /^```cpp$/ && wanted { inside = 1; ++count; file = stage "/block-" count ".cc"; next }
    /^```$/ { inside = 0; wanted = 0 }
    inside { print >file }' "$readme"

compile() {
    "$1" -std=c++20 -O2 -Wall -Wextra -Wpedantic -Wconversion -Werror -I "$root/include" \
        "$2" -o "$stage/program" -L "$build/src" -lshmbus -pthread
}
export SHMBUS_DIR="$stage/buses" SHMBUS_DAEMON="$build/tools/shmbusd"
export LD_LIBRARY_PATH="$build/src"
unset SHMBUS_BUS SHMBUS_START_DAEMON
mkdir "$stage/buses"

count=0
for block in "$stage"/block-*.cc; do
    [ -f "$block" ] || break
    count=$((count + 1))
    for compiler in g++ clang++; do
        if ! command -v "$compiler" >/dev/null; then
            skip "program $count compiles and runs ($compiler)" "there is no $compiler"
            continue
        fi
        check "program $count compiles without warnings ($compiler)" \
            compile "$compiler" "$block" &&
            check "program $count runs ($compiler)" timeout 60 "$stage/program"
    done
done
if [ "$count" -eq 0 ]; then
    echo 'no block is marked' | not_ok 'README.md shows at least one whole program'
else
    ok 'README.md shows at least one whole program'
fi

for example in "$build"/tools/examples/example-*; do
    [ -f "$example" ] && [ -x "$example" ] || continue
    check "$(basename "$example") runs" timeout 60 "$example"
done
