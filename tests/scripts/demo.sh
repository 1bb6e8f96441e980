#!/usr/bin/env bash
# The demo holds what it claims, fails when it must, and leaves nothing behind.
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/checks.sh
. "$(dirname "$0")/checks.sh"

demo="$build/tools/story/shmbus-demo"
if [ ! -x "$demo" ]; then
    skip 'the demo' "$demo is not built"
    exit
fi
# Private places, so that what is left behind can be seen.
mkdir "$stage/tmp" "$stage/data"
memory="$(mktemp -d /dev/shm/shmbus-test-XXXXXX)"
trap 'rm -rf "$memory"; finish_checks' EXIT
export TMPDIR="$stage/tmp" SHMBUS_DIR="$memory"

# ends STATUS command...: like the command, but succeeds when it ends with STATUS.
ends() {
    local wanted="$1" status
    shift
    "$@" </dev/null
    status=$?
    [ "$status" -eq "$wanted" ] || { echo "ended with status $status, not $wanted"; return 1; }
}

in_a_minute() { ends 0 timeout 60 "$demo"; }
check 'a hundred thousand orders are told in a minute, and every claim holds' in_a_minute
cp "$stage/said" "$stage/data/long"
check 'it ends with a table in which nothing is lost' \
    grep -Eq '^ +orders to sales +100,000 +100,0[0-9]+ +[1-9][0-9,]* +0 +[1-9][0-9]* +0$' \
    "$stage/data/long"
check 'a backlog comes back out of the journal after everything was killed' \
    grep -q 'ok. sales-4 handled [1-9][0-9,]* orders out of the journal' "$stage/data/long"
no_terminal_talk() { ! grep -q "$(printf '[\r\033]')" "$stage/data/long"; }
check 'a file gets plain lines' no_terminal_talk

if command -v script >/dev/null; then
    check 'a terminal gets one progress line, written over' \
        timeout 60 script -qec "$demo --rows 30000" "$stage/data/typed" </dev/null
    grep -q "$(printf '\r   sent ')" "$stage/data/typed" ||
        not_ok 'the progress line begins where the line begins' <"$stage/data/typed"
else
    skip 'a terminal gets one progress line, written over' 'there is no script(1)'
fi

check 'a planted drop makes it fail' ends 1 timeout 120 "$demo" --rows 3000 --plant-drop
cp "$stage/said" "$stage/data/dropped"
check 'a planted drop is named' \
    grep -q 'FAILED.*orders to sales: 3,000 due, lost 1' "$stage/data/dropped"

csv="$stage/data/orders.csv"
awk 'BEGIN {
    print "order_id,customer,product,quantity,price_cents"
    for (n = 1; n <= 700; ++n)
        printf "%d,\"customer, no. %d\",thing-%d,%d,%d\n", 9 * n, n % 31, n % 7, 1 + n % 5, 37 * n
}' >"$csv"
from_file() { ends 0 timeout 60 "$demo" "$csv"; }
check 'orders are read from a file' from_file
# What the demo says of the money, worked out here from the same file.
money="$(awk 'BEGIN { for (n = 1; n <= 700; ++n) sum += (1 + n % 5) * 37 * n
    printf "%d.%02d", sum / 100, sum % 100 }')"
cp "$stage/said" "$stage/data/counted"
said_money() { tr -d , <"$stage/data/counted" | grep -q "orders $money the store of sales $money"; }
check 'the money is what the file says' said_money

with_bad_lines() {
    { cat "$csv"; printf '%s\n' 'twelve,x,y,1,1' '9,again,y,1,1' '8,x,y,0,1' '7,x,y'; } |
        timeout 60 "$demo"
}
check 'orders are read from a pipe' with_bad_lines
bad_lines_named() {
    grep -q 'bad lines left out: 4$' "$stage/data/piped" &&
        grep -q "bad line 702: order_id 'twelve' is not a number" "$stage/data/piped" &&
        grep -q 'bad line 703: order_id 9 was on line 2 already' "$stage/data/piped" &&
        grep -q "bad line 704: quantity '0'" "$stage/data/piped" &&
        grep -q 'bad line 705: 3 fields' "$stage/data/piped"
}
cp "$stage/said" "$stage/data/piped"
check 'bad lines are counted and named' bad_lines_named
one_order() { echo '1,a,b,1,1' | timeout 60 "$demo"; }
check 'one order is enough' one_order
no_order() { ends 2 timeout 60 "$demo" "$stage/data/long"; }
check 'an input without one good order is refused' no_order
check 'a file that is not there is refused' ends 2 timeout 60 "$demo" "$stage/nothing.csv"

interrupted() {
    "$demo" </dev/null >"$stage/data/cut" 2>&1 &
    local demo_pid=$! tries=0
    until grep -q '^3\. ' "$stage/data/cut"; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || { kill -9 "$demo_pid"; echo 'no third chapter'; return 1; }
        sleep 0.05
    done
    kill -TERM "$demo_pid"
    wait "$demo_pid"
    [ $? -eq 143 ]
}
check 'it can be told to end at any time' interrupted

# As little memory as a container gets.
if unshare -m true 2>/dev/null; then
    small_memory() {
        unshare -m sh -c 'mount -t tmpfs -o size=64m none /dev/shm && exec env -u SHMBUS_DIR "$@"' \
            sh timeout 60 "$demo" --rows 30000 </dev/null
    }
    check 'it needs no more than 64 MB of /dev/shm' small_memory
else
    skip 'it needs no more than 64 MB of /dev/shm' 'mounting is not allowed here'
fi

two_at_once() {
    timeout 100 "$demo" --rows 5000 </dev/null >"$stage/data/other" &
    local other=$!
    timeout 100 "$demo" --rows 5000 </dev/null && wait "$other"
}
check 'two demos do not disturb one another' two_at_once

nothing_left() {
    find "$memory" "$TMPDIR" -mindepth 1 | tee "$stage/data/left"
    [ ! -s "$stage/data/left" ]
}
check 'nothing is left behind' nothing_left
