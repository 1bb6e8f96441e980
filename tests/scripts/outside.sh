#!/usr/bin/env bash
# Other people's builds: an installed shmbus serves a bare compiler line and a meson project, and its
# daemon is found there; the shared library exports shmbus names only.
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/checks.sh
. "$(dirname "$0")/checks.sh"

check 'the build installs' meson install -C "$build" --no-rebuild --destdir "$stage/root" || exit
configured="$(sed -n 's/^prefix=//p' "$(find "$stage/root" -name shmbus.pc)")"
prefix="$stage/root$configured"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
export SHMBUS_DIR="$stage/buses"
unset SHMBUS_DAEMON SHMBUS_BUS SHMBUS_START_DAEMON
mkdir "$stage/buses"

mkdir "$stage/theirs"
cat >"$stage/theirs/shop.cc" <<'END'
#include <shmbus/bus.h>

#include <cstdio>
#include <thread>

struct OrderAccepted {
    static constexpr auto message = shmbus::reply("shop.order_accepted", shmbus::transient);
    std::uint64_t order_id;
};
struct PlaceOrder {
    static constexpr auto message = shmbus::command("shop.place_order", shmbus::transient);
    using reply = OrderAccepted;
    std::uint64_t order_id;
};

int main() {
    auto bus = shmbus::Bus::open("shop");
    auto sales = bus.endpoint("sales");
    sales.on<PlaceOrder>([](const PlaceOrder& order) { return OrderAccepted{order.order_id}; });
    std::jthread worker([&](std::stop_token stop) { sales.run(stop); });
    const auto reply = bus.request(PlaceOrder{.order_id = 7}).wait();
    std::printf("%s\n", reply ? "accepted" : reply.error().text().c_str());
    try {  // Exceptions cross the library's border.
        static_cast<void>(shmbus::Bus::open("no name"));
    } catch (const shmbus::SetupError& error) {
        return reply && reply->order_id == 7 && error.system_error() != 0 ? 0 : 1;
    }
    return 1;
}
END

bare_line() {
    # shellcheck disable=SC2046  # flags are words
    "$1" -std=c++20 "$stage/theirs/shop.cc" -o "$stage/shop-$1" \
        $(pkg-config --define-variable=prefix="$prefix" --cflags --libs shmbus)
}
# Each installed header alone, strictly, as programs are compiled that have no exceptions.
each_header_without_exceptions() {
    local header
    for header in "$prefix"/include/shmbus/*.h; do
        printf '#include <shmbus/%s>\n' "$(basename "$header")" |
            "$1" -std=c++20 -fno-exceptions -fno-rtti -Wall -Wextra -Wpedantic -Wconversion \
                -Wshadow -Wold-style-cast -Wnon-virtual-dtor -Werror -x c++ \
                -I "$prefix/include" -fsyntax-only - || return 1
    done
}
sed '/try {/,/^    return 1;/c\    return reply \&\& reply->order_id == 7 ? 0 : 1;' \
    "$stage/theirs/shop.cc" >"$stage/theirs/plain.cc"
program_without_exceptions() {
    # shellcheck disable=SC2046  # flags are words
    "$1" -std=c++20 -fno-exceptions -fno-rtti "$stage/theirs/plain.cc" -o "$stage/plain-$1" \
        $(pkg-config --define-variable=prefix="$prefix" --cflags --libs shmbus) &&
        LD_LIBRARY_PATH="$prefix/lib" timeout 60 "$stage/plain-$1"
}
ran=0
for compiler in g++ clang++; do
    if command -v "$compiler" >/dev/null; then
        check "a bare compiler line builds a program ($compiler)" bare_line "$compiler" &&
            check "that program runs and finds the installed daemon ($compiler)" \
                env LD_LIBRARY_PATH="$prefix/lib" timeout 60 "$stage/shop-$compiler" && ran=1
        check "each header compiles alone without exceptions and RTTI ($compiler)" \
            each_header_without_exceptions "$compiler" &&
            check "so does a program, and runs ($compiler)" program_without_exceptions "$compiler"
    else
        skip "a bare compiler line builds a program ($compiler)" "there is no $compiler"
    fi
done
daemon_is_the_installed_one() {
    local pid
    pid="$(sed -n 's/.*, process \([0-9]*\)$/\1/p' "$stage/buses/shop/daemon.log" | tail -n 1)"
    echo "the daemon is process $pid: $(readlink "/proc/$pid/exe")"
    [ "$(readlink "/proc/$pid/exe")" = "$prefix/bin/shmbusd" ]
}
[ "$ran" = 0 ] || check 'the daemon that was started is the installed one' \
    daemon_is_the_installed_one

cat >"$stage/theirs/meson.build" <<'END'
project('theirs', 'cpp', default_options: ['cpp_std=c++20', 'warning_level=3', 'werror=true'])
executable('shop', 'shop.cc', dependencies: dependency('shmbus', method: 'pkg-config'))
END
meson_project() {
    # The destination directory stands in for /, as in a cross build.
    PKG_CONFIG_SYSROOT_DIR="$stage/root" meson setup "$stage/built" "$stage/theirs" &&
        ninja -C "$stage/built" &&
        LD_LIBRARY_PATH="$prefix/lib" timeout 60 "$stage/built/shop"
}
check "a meson project finds dependency('shmbus'), builds and runs" meson_project

only_shmbus_names() {
    # Instances of the standard library's templates are weak in every C++ library, and shared.
    nm -DC --defined-only "$prefix/lib/libshmbus.so" | cut -d' ' -f2- |
        sed -E 's/^. (typeinfo( name)? for |vtable for |guard variable for )?//' |
        grep -Ev '^(shmbus::|non-virtual thunk to shmbus::)' |
        grep -Ev '^([a-z]+ )*(std|__gnu_cxx)::' | tee "$stage/others"
    [ ! -s "$stage/others" ]
}
check 'the shared library exports shmbus names only' only_shmbus_names
has_no_way_to_print() {
    ! nm -D --undefined-only "$prefix/lib/libshmbus.so" | grep -E \
        ' (__)?(v?f?printf(_chk)?|f?puts|putchar|fwrite|perror|syslog|_ZSt4(cout|cerr|clog))(@|$)'
}
check 'the shared library has no way to print' has_no_way_to_print
include_only_what_is_public() {
    grep -hoE '^ *# *include *[<"][^>"]+[>"]' "$prefix"/include/shmbus/*.h |
        grep -vE '<shmbus/[a-z_]+\.h>|<[a-z_]+>' | tee "$stage/includes"
    [ ! -s "$stage/includes" ]
}
check 'public headers include the standard library and one another' include_only_what_is_public
