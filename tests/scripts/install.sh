#!/usr/bin/env bash
# The installed library serves an outside program found by pkg-config, and hides its inside.
#
# SPDX-License-Identifier: BSL-1.0
set -u
root="${SHMBUS_SOURCE_ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}"
build="${SHMBUS_BUILD_ROOT:-$root/build}"
stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT

# check NAME command...: one line per check, with the command's output if it fails.
check() {
    local name="$1"
    shift
    if "$@" >"$stage/said" 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name"
        sed 's/^/    /' "$stage/said"
        return 1
    fi
}

check 'the build installs into an empty place' \
    meson install -C "$build" --no-rebuild --destdir "$stage" || exit 1

prefix="$stage$(sed -n 's/^prefix=//p' "$(find "$stage" -name shmbus.pc)")"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
cat >"$stage/outside.cc" <<'END'
#include <shmbus/result.h>

int main() {
    try {
        throw shmbus::SetupError{"asking", "nothing", 0, ""};
    } catch (const shmbus::SetupError& error) {
        return shmbus::name_of(shmbus::ErrorCode::full) == "full" &&
               error.tried() == "asking" ? 0 : 1;
    }
}
END
compile() {
    # shellcheck disable=SC2046  # flags are words
    c++ -std=c++20 "$stage/outside.cc" -o "$stage/outside" \
        $(pkg-config --define-variable=prefix="$prefix" --cflags --libs shmbus)
}
check 'an outside program compiles with what pkg-config says' compile &&
    check 'the outside program runs' env LD_LIBRARY_PATH="$prefix/lib" "$stage/outside"

each_header_alone() {
    local header
    for header in "$prefix"/include/shmbus/*.h; do
        printf '#include <shmbus/%s>\n' "$(basename "$header")" |
            c++ -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Werror -x c++ \
                -I "$prefix/include" -fsyntax-only - || return 1
    done
}
check 'each installed header compiles alone and without warnings' each_header_alone

inside_is_hidden() {
    # Inner rooms have a namespace each; only shmbus itself, its detail and its testing are public.
    ! nm -DC --defined-only "$prefix/lib/libshmbus.so" |
        grep -E ' [TDBRVW] shmbus::(base|wire|lane|directory|bus)::'
}
check 'the shared library hides its inside' inside_is_hidden

beside_the_programs() {
    local file
    for file in share/man/man1/shmbus.1 share/man/man7/shmbus.7 share/man/man8/shmbusd.8 \
        share/bash-completion/completions/shmbus share/shmbus/schemas/shmbus.cli-1.json; do
        [ -f "$prefix/$file" ] || { echo "$file is missing"; return 1; }
    done
}
check 'manual pages, completion and schemas are installed' beside_the_programs
