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
# shellcheck source=tests/scripts/loop_disk.sh
. "$(dirname "$0")/loop_disk.sh"
trap 'take_down; finish_checks' EXIT

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
