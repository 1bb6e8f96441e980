# shellcheck shell=bash
# Builds under sanitizers, in $SHMBUS_BUILD_ROOT/sanitizers, kept and reused. Sourced by bash.
#
# SPDX-License-Identifier: BSL-1.0
root="${SHMBUS_SOURCE_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
sanitized="${SHMBUS_BUILD_ROOT:-$root/build}/sanitizers"
mkdir -p "$sanitized"

# can_link CXX kinds: whether this compiler has these sanitizers.
can_link() {
    echo "$3" | "$1" -x c++ - "-fsanitize=$2" -o "$sanitized/probe" >"$sanitized/probe.log" 2>&1
}
can_fuzz() {
    can_link clang++ fuzzer,address \
        'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
}
can_check() { can_link c++ "$1" 'int main() {}'; }

# make_sanitized NAME sanitizers target...: configures once, then builds the targets. Where clang
# can, addresses and fuzzers share one build, which also shows that clang has nothing to say.
make_sanitized() {
    local where="$sanitized/$1" kinds="$2" compiler=()
    local options=(-Dwerror=false)
    shift 2
    if [ ! -f "$where/build.ninja" ]; then
        rm -rf "$where"
        if [[ $kinds == address* ]] && can_fuzz; then
            compiler=(CXX=clang++)
            command -v ccache >/dev/null && compiler=('CXX=ccache clang++')
            options=(-Dfuzz=enabled)
        fi
        env ${compiler[@]+"${compiler[@]}"} meson setup "$where" "$root" --buildtype=plain \
            -Doptimization=1 -Dcpp_args=-g1 -Db_sanitize="$kinds" -Db_lundef=false \
            -Db_ndebug=false -Dtests=enabled -Dbench=disabled "${options[@]}" </dev/null ||
            return 1
    fi
    ninja -C "$where" "$@" </dev/null
}
