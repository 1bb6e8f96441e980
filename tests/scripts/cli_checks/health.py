"""doctor, check, and what another user is told.

SPDX-License-Identifier: BSL-1.0
"""
import json
import os
import shutil
import signal
import unittest

from cli_checks.bus import Bus, fail_some, prepare
from cli_checks.ground import LIMIT, TOOL, eventually, require, valid


def health(stage):
    with prepare(Bus(stage)) as bus:
        said = bus.run("doctor")
        require("OK    daemon" in said.out, said)
        bus.json("doctor") if said.status == 0 else None
        said = bus.run("check")
        require(said.status == 0 and said.out.startswith("SHMBUS all OK - "), said)
        require(len(said.out.splitlines()) == 1, said)
        valid(json.loads(bus.run("--json", "check", "backlog").out))
        bus.good("send", "job", "--to", "work", "--data", "x", "--count", "30")
        require(bus.run("check", "backlog", "--warn", "10").status == 1, "warning")
        require(bus.run("check", "backlog", "--warn", "10", "--crit", "30").status == 2, "critical")
        require("no living process" in bus.run("doctor").out, "left alone")
        bus.good("endpoint", "purge", "work", "--yes")
        server = fail_some(bus, "job", ["x"])
        eventually(lambda: bus.run("check", "failed").status == 1, "failed")
        server.send_signal(signal.SIGSTOP)
        said = bus.run("doctor")
        require(said.status == 69 and "stopped by a signal" in said.out, said)
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()
        bus.daemon.send_signal(signal.SIGSTOP)
        said = bus.run("check", "alive")
        require(said.status == 2 and "does not answer" in said.out, said)
        bus.daemon.send_signal(signal.SIGCONT)
        bus.stop(signal.SIGKILL)
        inbox = bus.place / "inboxes" / bus.json("endpoint", "show", "other")["number"]
        whole = inbox.read_bytes()
        inbox.write_bytes(b"\x55" * len(whole))
        said = bus.run("check", "backlog")
        require(said.status == 3 and '"other"' in said.out, said)
        said = bus.run("doctor")
        require(said.status == 69 and "inbox of other" in said.out, said)
        require('"other"' in bus.bad(65, "endpoint", "show", "other"), "it cannot be shown")
        require(bus.row("other")["waiting"] is None and bus.waiting("work") == 0, "listed, unknown")
        inbox.write_bytes(whole[:100])
        require("100 bytes" in bus.bad(65, "peek", "other"), "a file that was cut short")
        inbox.write_bytes(whole)
        lane = next((bus.place / "lanes").iterdir())
        shutil.copy(lane, lane.parent / "00000000000000ff")
        said = bus.run("doctor")
        require("left over" in said.out and "none runs" in said.out, said)
        said = bus.run("doctor", "--fix", env={"SHMBUS_START_DAEMON": "1"})
        require("fixed: files" in said.out, said)
        eventually(lambda: not (lane.parent / "00000000000000ff").exists(), "a file that is gone")


def what_doctor_says_helps(stage):
    """Done as it stands there, it does."""
    with Bus(stage, config="[tables]\nparticipants = 4\n") as bus:
        prepare(bus)
        bus.good("send", "job", "--to", "other", "--data", "x")
        require("try: start the receiver; or shmbus endpoint purge NAME\n" in bus.good("doctor"),
                "one can join")
        servers = [bus.spawn("serve", "work", "--type", "job", "--command", "cat")
                   for _ in range(3)]
        eventually(lambda: bus.row("work")["consumers"] == 3, "three of three")
        bus.bad(75, "endpoint", "purge", "other", "--yes")
        said = bus.run("doctor")
        require(said.status == 69 and "all 3 places of the bus are taken" in said.out and
                "end one of those" in said.out and "when one can join" in said.out, said)
        # A signal that ends others waits until who is stopped goes on.
        servers[0].send_signal(signal.SIGSTOP)
        eventually(lambda: "kill -CONT PID, or kill -KILL PID" in bus.run("doctor").out, "stopped")
        servers[0].send_signal(signal.SIGKILL)
        servers[0].wait(LIMIT)
        eventually(lambda: bus.run("doctor").status == 0, lambda: bus.run("doctor"))
        require("1 messages" in bus.good("endpoint", "purge", "other", "--yes"), "purged")
        bus.good("send", "job", "--to", "other", "--data", "x")
        for server in servers[1:]:
            server.kill()
            server.wait(LIMIT)
        bus.stop()
        said = bus.run("doctor").out
        require("shmbus run, and shmbus endpoint purge NAME beside it" in said, said)
        bus.bad(69, "endpoint", "purge", "other", "--yes")
        bus.start()
        bus.good("endpoint", "purge", "other", "--yes")


def full_memory(stage):
    """What helps names the file system that is full, and makes it larger."""
    with Bus(stage) as bus:
        place = bus.folder / "small memory"
        place.mkdir()
        script = ('mount -t tmpfs -o size=8m none "$1" || exit 99\nshmbus="$2"\n'
                  'SHMBUS_DIR="$1/buses" "$shmbus" --format csv doctor\n'
                  'mount -o remount,size=1G "$1" && SHMBUS_DIR="$1/buses" "$shmbus" doctor\n')
        said = bus.run_program("unshare", "-m", "sh", "-c", script, "sh", str(place), TOOL)
        if said.status == 99 or "unshare" in said.err:
            raise unittest.SkipTest("nothing may be mounted here")
        require(f"mount -o remount,size=1G {place}" in said.out, said)
        require("OK    memory" in said.out, said)


def other_users(stage):
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can be somebody else")
    with prepare(Bus(stage)) as bus:
        for folder in (stage, bus.folder, bus.folder / "buses"):
            os.chmod(folder, 0o755)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        text = bus.bad(77, "ls", **nobody)
        require("denied" in text or "another user" in text, text)
        bus.bad(77, "endpoint", "ls", **nobody)
        bus.bad(77, "peek", "work", **nobody)
        require(bus.run("check", **nobody).status == 3, "check")
