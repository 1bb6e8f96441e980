#!/usr/bin/env bash
# The library builds for another processor and against a newer Boost.
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/checks.sh
. "$(dirname "$0")/checks.sh"

cross_build() {
    # Header-only packages are the same for every processor; this compiler does not look there.
    mkdir -p "$stage/headers"
    local package
    for package in boost concurrentqueue; do
        ln -sfn "/usr/include/$package" "$stage/headers/$package"
    done
    # The library and the daemon's rooms: no packages of tests and tools. Nothing runs, so speed
    # does not matter.
    CXXFLAGS="-isystem $stage/headers" meson setup "$stage/arm" "$root" \
        --cross-file "$root/tests/aarch64-linux-gnu.ini" \
        -Dtests=disabled -Dbench=disabled -Dtools=disabled -Doptimization=0 &&
        nice -n 5 ninja -C "$stage/arm"
}
is_for_arm() { readelf -h "$stage/arm/src/libshmbus.so" | grep -q 'Machine:.*AArch64'; }
if command -v aarch64-linux-gnu-g++ >/dev/null; then
    check 'the library builds for aarch64' cross_build && check 'it is for aarch64' is_for_arm
else
    skip 'the library builds for aarch64' 'there is no aarch64-linux-gnu-g++ (g++-aarch64-linux-gnu)'
fi

newer_boost='the library compiles against Boost 1.81'
# Boost's two versions exclude one another as packages: unpacked beside, not installed.
if (cd "$stage" && timeout 120 apt-get download libboost1.81-dev) >"$stage/said" 2>&1; then
    dpkg -x "$stage"/libboost1.81-dev_*.deb "$stage/boost"
    compile_against_it() {
        grep -q 'BOOST_VERSION 108100$' "$stage/boost/usr/include/boost/version.hpp" || return 1
        # The files that see Boost, themselves or through a header.
        local file found=0
        while IFS= read -r file; do
            found=$((found + 1))
            nice -n 5 g++ -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Werror -fsyntax-only \
                -MD -MF "$stage/read" \
                -isystem "$stage/boost/usr/include" -I "$root/include" -I "$root/src" "$file" ||
                return 1
            grep -q "$stage/boost/usr/include/boost/" "$stage/read" || return 1
        done < <(grep -rlE '^#include <boost/' "$root/src" --include='*.cc')
        echo "$found files"
        [ "$found" -gt 0 ]
    }
    check "$newer_boost" compile_against_it
else
    skip "$newer_boost" "apt-get download said: $(tail -n 1 "$stage/said")"
fi
