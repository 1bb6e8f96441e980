#!/usr/bin/env bash
# Real power cuts and real write errors under a journal: ext4 on a loop device, its image in memory.
# The file system is stopped in mid-write by its shutdown ioctl, mounted again, and the journal must
# hold what it acknowledged and nothing that was not written. Then the image finds no room for what
# the kernel writes back, so that fdatasync fails for real, with a log in the file system and
# without.
#
#   SHMBUS_POWER_CUTS     how often (100); 10000 for a night
#   SHMBUS_WRITE_ERRORS   how many batches meet one, and how many syncs, of each of both kinds (20)
#   SHMBUS_SEED           to repeat a run, as far as time lets it
#
# Needs root and loop devices.
#
# SPDX-License-Identifier: BSL-1.0
set -u
# shellcheck source=tests/scripts/checks.sh
. "$(dirname "$0")/checks.sh"
cuts="${SHMBUS_POWER_CUTS:-100}"
errors="${SHMBUS_WRITE_ERRORS:-20}"
program="$build/tests/journal/journal_real_disk"
PATH="$PATH:/usr/sbin:/sbin"
device=''

take_down() {
    mountpoint -q "$stage/mounted" && umount "$stage/mounted"
    [ -n "$device" ] && losetup -d "$device"
    device=''
    mountpoint -q "$stage/memory" && umount "$stage/memory"
    return 0
}
trap 'take_down; finish_checks' EXIT

# set_up mkfs-option...: an image on a tmpfs of its own behind a loop device. Requests of one page,
# since this driver takes a write that found room for half of it for a good one, which no disk does.
set_up() {
    mkdir -p "$stage/memory" "$stage/mounted"
    mount -t tmpfs -o size=256m none "$stage/memory" &&
        truncate -s 64M "$stage/memory/image" &&
        mkfs.ext4 -q -F -b 4096 "$@" "$stage/memory/image" &&
        device="$(losetup --find --show "$stage/memory/image")" &&
        echo 4 >"/sys/block/${device##*/}/queue/max_sectors_kb"
}

# Asked of the system itself, so that nothing of ours can make a skip of a failure.
hinders() {
    local tool
    for tool in losetup mkfs.ext4 mount umount mountpoint; do
        command -v "$tool" >/dev/null || { echo "there is no $tool"; return; }
    done
    [ "$(id -u)" -eq 0 ] || { echo 'it needs root'; return; }
    truncate -s 1M "$stage/probe"
    local probe
    probe="$(losetup --find --show "$stage/probe" 2>/dev/null)" ||
        { echo 'loop devices cannot be had here'; return; }
    losetup -d "$probe"
    mkdir -p "$stage/tried"
    mount -t tmpfs none "$stage/tried" 2>/dev/null || { echo 'mounting is not allowed'; return; }
    umount "$stage/tried"
}

# run NAME "mkfs options" argument...
run() {
    local name="$1" options="$2" kind="$3" count="$4" said=''
    # shellcheck disable=SC2086  # several words
    if ! set_up $options >"$stage/said" 2>&1; then
        not_ok "$name: the file system cannot be set up" <"$stage/said"
    elif said="$("$program" "$kind" "$device" "$stage/mounted" "$count" "$stage/memory/image" 2>&1)"
    then
        ok "$name"
        printf '    %s\n' "${said//$'\n'/$'\n    '}"
    else
        not_ok "$name" <<<"$said"
    fi
    take_down
}

why="$(hinders)"
if [ -n "$why" ]; then
    skip 'power cuts and write errors' "$why"
    exit 0
fi
if [ ! -x "$program" ]; then
    not_ok 'power cuts' <<<"$program is not built"
    exit
fi
run "after each of $cuts power cuts the journal has what it acknowledged" '' cuts "$cuts"
run "after $errors write errors nothing acknowledged is lost, with a log in the file system" \
    '' errors-and-cuts "$errors"
run "after $errors write errors nothing acknowledged is lost, without a log in the file system" \
    '-O ^has_journal' errors "$errors"
# Through the kernel's cache, where the error comes out of the sync and a second one would answer 0.
run "after $errors syncs that failed nothing acknowledged is lost, with a log in the file system" \
    '' syncs-and-cuts "$errors"
run "after $errors syncs that failed nothing acknowledged is lost, without a log in the file system" \
    '-O ^has_journal' syncs "$errors"
