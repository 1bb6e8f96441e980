# shellcheck shell=bash
# A file system of our own on a loop device, its image in memory. Sourced by bash, behind checks.sh;
# whoever sources it ends with take_down.
#
# SPDX-License-Identifier: BSL-1.0
# shellcheck disable=SC2154  # stage is of checks.sh
PATH="$PATH:/usr/sbin:/sbin"
device=''

take_down() {
    mountpoint -q "$stage/mounted" && umount "$stage/mounted"
    [ -n "$device" ] && losetup -d "$device"
    device=''
    mountpoint -q "$stage/memory" && umount "$stage/memory"
    return 0
}
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
