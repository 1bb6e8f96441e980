# shellcheck shell=bash
# What tools/test and tools/demo share: find or install what is needed, configure, build.
# Sourced by bash; expects `root` to be the top of the clone. Speaks on standard error only.
#
# SPDX-License-Identifier: BSL-1.0

build="${SHMBUS_BUILD_DIR:-$root/build}"
lock_file="$build.lock"

say() { printf '%s\n' "$*" >&2; }
give_up() { say "$(basename "$0"): $*"; exit 1; }

# Programs and headers that must be there, each with the Debian package that brings it. Headers
# are looked for themselves: for Boost there are several packages, which exclude one another.
needed_programs='c++ g++
meson meson
ninja ninja-build
pkg-config pkg-config
flock util-linux
python3 python3'
needed_headers='boost/interprocess/mapped_region.hpp libboost-dev
concurrentqueue/concurrentqueue.h libconcurrentqueue-dev
doctest/doctest.h doctest-dev
CLI/CLI.hpp libcli11-dev
fmt/format.h libfmt-dev
nlohmann/json.hpp nlohmann-json3-dev
spdlog/spdlog.h libspdlog-dev
sqlite3.h libsqlite3-dev
curses.h libncurses-dev
toml++/toml.h libtomlplusplus-dev'

# Modules of Python, likewise; only tools/test wants any.
needed_modules=''

has_header() {
    printf '#if !__has_include(<%s>)\n#error missing\n#endif\n' "$1" |
        c++ -std=c++20 -x c++ -fsyntax-only - 2>/dev/null
}

# Debian's modules also where another Python comes first: scripts that want them look there too.
has_module() {
    python3 -c "import sys; sys.path.append('/usr/lib/python3/dist-packages'); import $1" \
        2>/dev/null
}

# Prints the packages that are missing, one a line.
missing_packages() {
    local name package
    while read -r name package; do
        command -v "$name" >/dev/null || printf '%s\n' "$package"
    done <<<"$needed_programs"
    # Without a compiler no header is found, and asking for all is the right answer.
    while read -r name package; do
        has_header "$name" || printf '%s\n' "$package"
    done <<<"$needed_headers"
    # The same without a Python.
    while read -r name package; do
        [ -z "$name" ] || has_module "$name" || printf '%s\n' "$package"
    done <<<"$needed_modules"
}

install_missing() {
    local missing as_root=()
    missing="$(missing_packages | tr '\n' ' ')"
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null ||
        give_up "missing: $missing(Debian names). There is no apt-get here: install them yourself."
    if [ "$(id -u)" -ne 0 ]; then
        # Only at a terminal can anybody type a password.
        if [ -t 0 ]; then as_root=(sudo); else as_root=(sudo -n); fi
        command -v sudo >/dev/null && "${as_root[@]}" true ||
            give_up "missing: $missing. Neither root nor sudo: ask somebody to run" \
                "'apt-get install $missing'"
    fi
    say "installing: $missing"
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
        -o DPkg::Lock::Timeout=600)
    # Package lists may be old or absent; without the network the ones there may still do.
    "${apt[@]}" update >&2 </dev/null || say "apt-get update failed; trying with what is known"
    # shellcheck disable=SC2086  # one word per package
    "${apt[@]}" install -y --no-install-recommends $missing >&2 </dev/null ||
        give_up "apt-get could not install: $missing"
    missing="$(missing_packages | tr '\n' ' ')"
    [ -z "$missing" ] || give_up "still missing after the installation: $missing"
}

configure() {
    [ -f "$build/build.ninja" ] && return 0
    meson setup "$build" "$root" --buildtype=release -Dtests=enabled -Dtools=enabled \
        >"$build.log" 2>&1 </dev/null || { cat "$build.log" >&2; give_up "meson setup failed"; }
}

# True when the targets (all without arguments) are built and newer than their sources.
is_built() {
    [ -f "$build/build.ninja" ] && ninja -C "$build" -n "$@" 2>/dev/null </dev/null |
        grep -q 'no work to do'
}

open_lock() {
    { exec 9>"$lock_file"; } 2>/dev/null ||
        give_up "cannot write $lock_file: the clone belongs to somebody else; clone it yourself" \
            "or set SHMBUS_BUILD_DIR to a directory of your own"
}

# Configures if nobody has, one at a time.
prepare_locked() {
    open_lock
    flock -x 9
    configure
    flock -u 9
}

# Builds and leaves the lock shared in descriptor 9 until the script ends: any number may run what
# is built, nobody may rebuild it under them, and one builds while the others wait.
build_locked() {
    open_lock
    flock -s 9
    is_built "$@" && return 0
    flock -u 9
    flock -x 9
    configure
    say "building in $build"
    ninja -C "$build" "$@" >"$build.log" 2>&1 </dev/null ||
        { tail -n 200 "$build.log" >&2; give_up "the build failed"; }
    flock -s 9
}

# The programs under tools/, as ninja calls them.
tool_targets() {
    ninja -C "$build" -t targets all 2>/dev/null </dev/null |
        sed -n 's/^\(tools\/[^:]*\): cpp_LINKER.*/\1/p'
}
