#!/usr/bin/env bash
# The file system of a serving daemon's journal becomes read-only, and writable again: ext4 on a
# loop device, which the kernel makes read-only when it finds an error. (Asked to, it refuses as
# long as a file is open for writing.) The operator unmounts it, checks it, mounts it read-only and
# then remounts it for writing. Nobody touches the daemon, transient messages go on all the time,
# and what was acknowledged comes.
#
# Needs root and loop devices.
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/checks.sh
. "$(dirname "$0")/checks.sh"
# shellcheck source=tests/scripts/loop_disk.sh
. "$(dirname "$0")/loop_disk.sh"
started=()
# A daemon that was ended is not begun again by those who are ended after it.
export SHMBUS_START_DAEMON=0

end_all() {
    rm -f "$stage/going"
    local pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
    wait
    take_down
    finish_checks
}
trap end_all EXIT

shmbus() { "$build/tools/shmbus" --bus "$stage/bus" "$@"; }

# within SECONDS command...: true as soon as the command is.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

set_up_bus() {
    set_up -O has_journal &&
        mount -t ext4 -o errors=remount-ro "$device" "$stage/mounted" || return 1
    printf 'journal_segment_bytes = 1048576\n' >"$stage/config"
    "$build/tools/shmbusd" --dir "$stage/bus" --journal "$stage/mounted/journal" \
        --config "$stage/config" 2>"$stage/log" &
    started+=($!)
    within 20 test -S "$stage/bus/control.sock" && shmbus type add deed command --durable &&
        shmbus type add note command && shmbus endpoint create deeds
}

# Transient messages, numbered, until $stage/going is not there any more.
send_notes() {
    local number=0
    while [ -e "$stage/going" ]; do
        shmbus send note --to notes --data $((number + 1)) >>"$stage/sent" || return 1
        number=$((number + 1))
    done
}
begin_notes() {
    : >"$stage/notes"
    : >"$stage/going"
    # Not by the function: what is to be ended is the program.
    "$build/tools/shmbus" --bus "$stage/bus" serve notes --type note --quiet \
        --command "cat >>'$stage/notes'; echo >>'$stage/notes'" &
    started+=($!)
    within 20 shmbus endpoint show notes >"$stage/shown" 2>&1 || return 1
    send_notes &
    notes_sender=$!
}
count_notes() { wc -l <"$stage/notes"; }
has_notes() { [ "$(count_notes)" -ge "$1" ]; }
notes_go_on() { within 20 has_notes $(($(count_notes) + 5)); }
notes_are_whole() {
    rm "$stage/going"
    wait "$notes_sender" || return 1
    local sent
    sent="$(wc -l <"$stage/sent")"
    [ "$sent" -gt 50 ] && within 20 has_notes "$sent" &&
        sort -n "$stage/notes" | diff - <(seq 1 "$sent")
}

# A durable message; $1 is kept when it was acknowledged.
send_deed() {
    shmbus send deed --to deeds --data "$1;" --timeout "$2" && echo "$1" >>"$stage/acknowledged"
}
send_deeds() {
    local number
    for number in $(seq "$1" "$2"); do send_deed "deed-$number" 20s || return 1; done
}
is_refused() { ! send_deed "$1" 1s; }
# Out of service, as monitoring sees it.
journal_is_out() {
    local status=0
    shmbus check journal || status=$?
    [ "$status" -eq 2 ]
}
journal_is_in_service() { shmbus check journal; }
journal_is_not_there() {
    sleep 2  # the daemon tries every second
    [ ! -e "$stage/mounted/journal" ]
}
becomes_read_only() {
    echo simulated >"/sys/fs/ext4/${device##*/}/trigger_fs_error"
    ! touch "$stage/mounted/tried"
}
# It finds that there was an error, and mends it.
check_disk() { e2fsck -fy "$device" || [ $? -eq 1 ]; }
log_says() { grep "$1" "$stage/log"; }

# All that was acknowledged comes, each once; what was refused may come, once.
deeds_are_whole() {
    shmbus get deeds --count 100 --yes --raw | tr -s ';\n' '\n' | sort >"$stage/deeds"
    cat "$stage/deeds"
    [ -z "$(uniq -d "$stage/deeds")" ] &&
        [ -z "$(sort "$stage/acknowledged" | comm -23 - "$stage/deeds")" ]
}

why="$(hinders)"
[ -n "$why" ] || command -v e2fsck >/dev/null || why='there is no e2fsck'
if [ -n "$why" ]; then
    skip 'a disk that becomes read-only' "$why"
    exit 0
fi
if [ ! -x "$build/tools/shmbusd" ]; then
    skip 'a disk that becomes read-only' 'there is no shmbusd'
    exit 0
fi
check 'the journal of a bus is on a disk of its own' set_up_bus || exit
begin_notes
check 'durable messages are acknowledged' send_deeds 1 20
check 'transient messages are on their way' notes_go_on
check 'the disk becomes read-only' becomes_read_only || exit
check 'a durable message is not acknowledged then' is_refused refused
check 'monitoring is told that the journal is out of service' within 20 journal_is_out
check 'the log says why' within 20 log_says 'Read-only file system'
check 'transient messages go on beside it' notes_go_on
check 'the daemon does not hold the disk' within 20 umount "$stage/mounted"
check 'the daemon makes no journal in its place' journal_is_not_there
check 'the disk is checked' check_disk
check 'it is mounted read-only' mount -t ext4 -o ro "$device" "$stage/mounted"
check 'the daemon waits for it' journal_is_out
check 'transient messages still go on' notes_go_on
check 'it is remounted for writing' mount -o remount,rw "$stage/mounted"
check 'the journal is in service again by itself' within 20 journal_is_in_service
check 'durable messages are acknowledged again' send_deeds 21 30
check 'all that was acknowledged comes, and none of it twice' deeds_are_whole
check 'no transient message was lost' notes_are_whole
