#!/usr/bin/env bash
# The unit tests and a short storm under the address and undefined-behaviour sanitizers; called with
# `threads`, as threads.sh does, the threads of one bus under the thread sanitizer.
#
#   SHMBUS_SANITIZER_SECONDS   how long one program may take (400)
#   SHMBUS_SANITIZERS=all      support, daemon, journal, durable too: minutes more to compile
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/sanitized.sh
. "$(dirname "$0")/sanitized.sh"
# Of the programs that start one. Its code runs under sanitizers in test_durable and in fuzz.sh.
export SHMBUS_DAEMON="${SHMBUS_BUILD_ROOT:-$root/build}/tools/shmbusd"
seconds="${SHMBUS_SANITIZER_SECONDS:-400}"
log="$sanitized/said.${1:-addresses}"

# Whoever dies by a sanitizer ends with a status of its own, also in a forked child.
export ASAN_OPTIONS=exitcode=86:detect_leaks=0:handle_sigbus=0:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:exitcode=86:print_stacktrace=1
export TSAN_OPTIONS="exitcode=86:halt_on_error=0:suppressions=$root/tests/system/tsan.supp"

# check NAME command...: ok when it ends with 0 and no sanitizer has spoken, in whichever process.
check() {
    local name="$1" status
    shift
    timeout --kill-after=5 "$seconds" "$@" >"$log" 2>&1 </dev/null
    status=$?
    if [ "$status" -eq 0 ] &&
        ! grep -qE 'ERROR: AddressSanitizer|runtime error:|WARNING: ThreadSanitizer' "$log"; then
        echo "ok $name"
    else
        echo "not ok $name: ended with $status"
        tail -n 80 "$log" | sed 's/^/    /'
    fi
}

addresses() {
    local where="$sanitized/address" program
    local programs=(base wire lane directory bus)
    # The rest takes minutes to compile: for a night's run.
    local others=()
    [ "${SHMBUS_SANITIZERS:-}" = all ] && programs+=(support daemon) && others=(journal durable)
    # What takes long for its number of cases runs without sanitizers elsewhere.
    local long='*crash at any call*,*call fails*,*write is cut short*,*every *,*backlog*'
    long+=',*killed*,*however much*'
    if ! can_check address,undefined; then
        echo 'skip addresses: the compiler has no such sanitizer'
        return
    fi
    if ! make_sanitized address address,undefined tests/system/system_storm \
        "${programs[@]/#/tests/test_}" ${others[@]+"${others[@]/#/tests/test_}"} >"$log" 2>&1; then
        echo 'not ok addresses: does not build'
        tail -n 40 "$log" | sed 's/^/    /'
        return
    fi
    for program in "${programs[@]}"; do
        check "no wrong address in test_$program" "$where/tests/test_$program" --no-colors
    done
    for program in ${others[@]+"${others[@]}"}; do
        check "no wrong address in test_$program, the short cases" \
            "$where/tests/test_$program" --no-colors "--test-case-exclude=$long"
    done
    check 'no wrong address in a storm of 60 kills' "$where/tests/system/system_storm" \
        --kills 60 --seconds 60
}

# Between processes the thread sanitizer sees nothing, and a child forked from a process with
# threads confuses it: what is left are threads on one bus in one process.
threads() {
    local where="$sanitized/thread"
    can_check thread || { echo 'skip threads: the compiler has no such sanitizer'; return; }
    if ! make_sanitized thread thread tests/system/system_threads >"$log" 2>&1; then
        echo 'not ok threads: does not build'
        tail -n 40 "$log" | sed 's/^/    /'
        return
    fi
    check 'no data race among the threads of a bus' "$where/tests/system/system_threads"
}

case "${1:-addresses}" in
    addresses) addresses ;;
    threads) threads ;;
    *) echo "not ok sanitizers: there are no $1 here" ;;
esac
