"""Endpoints, types and subscriptions; looking at them when the daemon is dead, and many.

SPDX-License-Identifier: BSL-1.0
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from cli_checks.bus import Bus, prepare
from cli_checks.ground import LIMIT, eventually, require


def endpoints(stage):
    with prepare(Bus(stage)) as bus:
        require("number" in bus.good("endpoint", "create", "early", "--lane-bytes", "8192"), "made")
        row = bus.row("early")
        require(row["lane_bytes"] == 8192 and row["waiting"] == 0 and row["owner"] is None, row)
        require(bus.json("endpoint", "show", "early")["endpoint"] == "early", "show")
        text = bus.bad(66, "endpoint", "show", "erly")
        require('"early" is there' in text and "[no_endpoint]" in text, text)
        bus.bad(64, "endpoint", "create", "bad name")
        bus.bad(64, "type", "add", "bad/name", "command")
        bus.bad(64, "endpoint", "create", "odd", "--lane-bytes", "5000")
        require(bus.good("endpoint", "ls", "-o", "endpoint,kind", "--format", "csv").splitlines()[0]
                == "endpoint,kind", "columns")
        bus.bad(64, "endpoint", "ls", "-o", "bogus")
        bus.good("endpoint", "rm", "early", "--dry-run")
        require(bus.row("early"), "a dry run has removed it")
        bus.good("endpoint", "rm", "early")
        require(not bus.row("early"), "it is still there")
        bus.good("send", "job", "--to", "work", "--data", "a")
        text = bus.bad(75, "endpoint", "rm", "work")
        require("purge" in text and "not drained" in text, text)
        require("1 waiting" in bus.good("endpoint", "purge", "work", "--dry-run"), "count")
        require("--yes" in bus.bad(64, "endpoint", "purge", "work"), "nobody was asked")
        require(bus.waiting("work") == 1, "it was purged all the same")
        bus.good("endpoint", "purge", "work", "--yes")
        require(bus.waiting("work") == 0, "messages are left")
        eventually(lambda: bus.run("endpoint", "rm", "work").status == 0, "an endpoint that goes")


def stopped_processes(stage):
    with prepare(Bus(stage)) as bus:
        server = bus.spawn("serve", "other", "--type", "job", "--quiet", "--command", "true")

        def state():
            return {row["pid"]: row["state"]
                    for row in bus.json("process", "ls")["rows"]}.get(server.pid)
        eventually(lambda: state() == "alive", "the server on the bus")
        server.send_signal(signal.SIGSTOP)
        eventually(lambda: state() == "stopped", "that it is stopped")
        server.send_signal(signal.SIGCONT)
        eventually(lambda: state() == "alive", "that it goes on")
        # A dead one consumes nothing, also while no daemon clears its place away.
        eventually(lambda: bus.is_served("other"), "a consumer")
        bus.stop(signal.SIGKILL)
        server.kill()
        server.wait()
        require(not bus.is_served("other"), bus.row("other"))


def looking_needs_no_daemon(stage):
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--data", "kept")
        bus.stop(signal.SIGKILL)
        require(bus.json("ls")["daemon"] == "away", "ls")
        require(bus.waiting("work") == 1, "endpoint ls")
        require(bus.lines("peek", "work")[0]["text"] == "kept", "peek")
        require(bus.lines("tail", "work")[0]["text"] == "kept", "tail")
        for words in (["process", "ls"], ["sub", "ls"], ["type", "ls"], ["type", "show", "job"],
                      ["endpoint", "show", "work"], ["failed", "ls"]):
            bus.json(*words)
            bus.good(*words)
            bus.good("--format", "csv", *words)
        require(bus.run("check", "alive").status == 2, "check alive")
        require(not pathlib.Path(bus.place / "daemon.log").exists(), "a daemon was started")
        bus.bad(69, "endpoint", "create", "x")
        copy = bus.folder / "copy"
        shutil.copytree(bus.place, copy, ignore=shutil.ignore_patterns("control.sock"))
        copy.chmod(0o700)
        require(bus.lines("--bus", str(copy), "peek", "work")[0]["text"] == "kept", "a copy")
        tables = bytearray((copy / "directory").read_bytes())
        tables[8] = 99
        (copy / "directory").write_bytes(tables)
        for words in (["ls"], ["endpoint", "ls"], ["process", "ls"]):
            text = bus.bad(65, "--bus", str(copy), *words)
            require("layout 99" in text and "same version" in text, text)


def types_and_subscriptions(stage):
    with prepare(Bus(stage)) as bus:
        shown = bus.json("type", "show", "fixed")
        require(shown["bytes"] == 8 and shown["handled_by"] is None, shown)
        text = bus.bad(66, "type", "show", "jop")
        require('"job" is there' in text and "[no_type]" in text, text)
        bus.bad(75, "type", "add", "fixed", "command", "--bytes", "9")
        bus.bad(64, "type", "add", "late", "reply", "--durable")
        bus.bad(66, "type", "add", "late", "event", "--base", "bogus")
        bus.good("type", "add", "late", "event", "--base", "news")
        require(bus.json("type", "show", "late")["bases"] == ["news"], "bases")
        require("nobody subscribes" in bus.run("publish", "news", "--data", "x").err, "nobody")
        bus.good("sub", "add", "work", "news", "--when-full", "drop_oldest")
        row = bus.json("sub", "ls")["rows"][0]
        require(row == {"event": "news", "endpoint": "work", "when_full": "drop_oldest",
                        "orphaned": True}, row)
        # The order of the words of `sub add`.
        require(bus.good("sub", "ls").splitlines()[1].split()[:2] == ["work", "news"], "order")
        require(bus.json("publish", "news", "--data", "hear")["copies"] == 1, "published")
        require(bus.json("publish", "late", "--data", "hear")["copies"] == 1, "a derived one")
        require(bus.waiting("work") == 2, "waiting")
        with_consumer = bus.spawn("serve", "work", "--type", "news", "--command", "cat >/dev/null")
        eventually(lambda: bus.is_served("work"), "a consumer")
        require(bus.json("sub", "ls")["rows"][0]["orphaned"] is False, "orphaned")
        with_consumer.terminate()
        require(with_consumer.wait(LIMIT) == 0, "serve ends well at SIGTERM")
        bus.bad(64, "sub", "add", "work", "job")
        bus.bad(66, "sub", "rm", "other", "news")
        bus.good("sub", "rm", "work", "news", "--dry-run")
        bus.good("sub", "rm", "work", "news")
        require(bus.json("sub", "ls")["rows"] == [], "sub rm")


def backlog_on_disk(stage):
    """What does not fit into the lane waits on disk, and is a part of the depth all the same."""
    count = 1000
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "small", "--lane-bytes", "4096")
        bus.good("send", "deed", "--to", "small", "--data", "x" * 100, "--count", str(count))

        def depth():
            row = bus.row("small")
            return row["waiting"] + row["in_hand"] + row["on_disk"]
        eventually(lambda: depth() == count, lambda: bus.row("small"))
        require(bus.row("small")["on_disk"] > count - 100, bus.row("small"))
        require(bus.row("small")["on_disk_is_current"], bus.row("small"))
        for _ in range(3):
            bus.good("get", "small", "--yes", "--raw")
        eventually(lambda: depth() == count - 3, lambda: bus.row("small"))
        bus.stop(signal.SIGKILL)
        require(depth() == count - 3, bus.row("small"))
        require(not bus.row("small")["on_disk_is_current"], "no daemon knows it now")
        require(bus.json("endpoint", "show", "small")["on_disk"] > 0, "show")
        bus.start()
        eventually(lambda: bus.row("small")["on_disk_is_current"], "a daemon that knows")
        eventually(lambda: depth() == count - 3, lambda: bus.row("small"))
        text = bus.good("endpoint", "purge", "small", "--dry-run")
        require(f"{count - 3} waiting" in text, text)
        text = bus.good("endpoint", "purge", "small", "--yes")
        require(f"{count - 3} messages were thrown away" in text, text)
        eventually(lambda: depth() == 0, lambda: bus.row("small"))
        # Whoever goes on sending is not waited for.
        bus.good("send", "deed", "--to", "small", "--data", "x" * 100, "--count", "500")
        feeder = bus.spawn("send", "deed", "--to", "small", "--data", "y" * 100, "--count", "1500")
        thrown = int(bus.good("endpoint", "purge", "small", "--yes").split()[0])
        require(feeder.wait(LIMIT) == 0, feeder.stderr.read())
        eventually(lambda: thrown + depth() == 2000, lambda: (thrown, bus.row("small")))


def purge_that_is_held_up(stage):
    """Who is stuck in a handler holds the room of the lane: a purge ends, and says what is left."""
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "small", "--lane-bytes", "4096")
        script = bus.folder / "handle"
        script.write_text("#!/bin/sh\nwhile test -e \"$0.stuck\"; do sleep 0.05; done\n")
        script.chmod(0o755)
        stuck = bus.folder / "handle.stuck"
        stuck.touch()
        server = bus.spawn("serve", "small", "--type", "deed", "--quiet", "--command", str(script))
        eventually(lambda: bus.is_served("small"), "a consumer")
        bus.good("send", "deed", "--to", "small", "--data", "x" * 100, "--count", "300")
        eventually(lambda: bus.row("small")["in_hand"] > 0 and bus.row("small")["on_disk"] > 200,
                   lambda: bus.row("small"))
        text = bus.bad(75, "endpoint", "purge", "small", "--yes")
        require(f"{bus.row('small')['on_disk']} more wait on disk" in text, text)
        stuck.unlink()
        eventually(lambda: bus.row("small")["waiting"] + bus.row("small")["in_hand"] +
                   bus.row("small")["on_disk"] == 0, lambda: bus.row("small"))
        server.terminate()
        server.wait(LIMIT)


def totals(stage):
    """What came, left, was refused, dropped and tried again: by endpoint, lane and type."""
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "narrow", "--lane-bytes", "4096")
        bus.good("sub", "add", "narrow", "news", "--when-full", "drop_newest")
        bus.good("publish", "news", "--data", "x" * 100, "--count", "100")
        narrow = bus.json("endpoint", "show", "narrow")
        # 100 bytes take 128 of the lane, with the time of sending 192.
        came, written = narrow["came"], narrow["written_bytes"]
        require(came > 20 and came + narrow["dropped_newest"] == 100, narrow)
        require(128 * came <= written <= 192 * came and narrow["taken_bytes"] == 0, narrow)
        require(narrow["refused"] == 100 - came and narrow["left"] == 0, narrow)
        bus.good("endpoint", "purge", "narrow", "--yes")
        # The publisher's lane goes when it is drained; its account stays.
        eventually(lambda: bus.json("endpoint", "show", "narrow")["lanes"] == [], "a lane that goes")
        narrow = bus.json("endpoint", "show", "narrow")
        require(narrow["written_bytes"] == narrow["taken_bytes"] == written, narrow)
        require(narrow["dropped_newest"] == 100 - came and narrow["left"] == came, narrow)
        server = bus.spawn("serve", "work", "--type", "fixed", "--attempts", "3", "--quiet",
                           "--command", "test $(cat) = goodgood", stderr=subprocess.DEVNULL)
        eventually(lambda: bus.json("type", "show", "fixed")["handled_by"] == "work", "announced")
        for text in ("goodgood", "goodgood", "bad__bad"):
            bus.good("send", "fixed", "--data", text)
        eventually(lambda: bus.json("endpoint", "show", "work")["left"] == 3, "handled")
        work = bus.json("endpoint", "show", "work")
        require((work["threw"], work["retried"], work["failed"]) == (3, 2, 1), work)
        require(work["types"] == [{"type": "fixed", "handled": 2, "threw": 3, "redelivered": 0,
                                   "failed": 1, "dropped": 0}], work)
        times = work["times"]
        require([row["type"] for row in times] == ["fixed"], work)
        # Starting a command takes longer than this on any machine.
        require(100_000 < times[0]["processing_p50_ns"] <= times[0]["processing_p99_ns"], times)
        kind = bus.json("type", "show", "fixed")
        require(kind["processing_p50_ns"] == times[0]["processing_p50_ns"], kind)
        require((kind["handled"], kind["handled_bytes"], kind["threw"], kind["failed"])
                == (2, 16, 3, 1), kind)
        require(bus.json("type", "show", "job")["handled_bytes"] is None, "of any length")
        bus.good("endpoint", "show", "work")
        said = bus.good("metrics")
        for line in ('shmbus_endpoint_dropped_total{bus="shop",endpoint="narrow",kind="ordinary",',
                     'shmbus_endpoint_type_processing_seconds_count{bus="shop",endpoint="work",',
                     'shmbus_type_handled_bytes_total{bus="shop",type="fixed"} 16'):
            require(line in said, line)
        # Of a sender that lives, whose lane therefore stays.
        require(work["lane_times"] == [], work)
        sender = bus.spawn("send", "fixed", "--data", "goodgood", "--count", "100000",
                           "--rate", "50")
        eventually(lambda: bus.json("endpoint", "show", "work")["lane_times"], "a lane's times")
        work = bus.json("endpoint", "show", "work")
        lane = work["lane_times"][0]
        require(lane["lane"] in [row["lane"] for row in work["lanes"]], work)
        require(100_000 < lane["processing_p50_ns"] <= lane["processing_p99_ns"], lane)
        require("times by lane" in bus.good("endpoint", "show", "work"), "as a table")
        require(f'lane="{lane["lane"]}"' in "".join(
            line for line in bus.good("metrics").splitlines()
            if line.startswith("shmbus_lane_processing_seconds_count{")), "as metrics")
        sender.terminate()
        sender.wait(LIMIT)
        server.terminate()
        require(server.wait(LIMIT) == 0, "serve")


def many_endpoints(stage):
    # An inbox takes 140 KiB; in memory ten thousand are made in seconds.
    memory = os.statvfs("/dev/shm")
    has_room = memory.f_bavail * memory.f_frsize > 4 << 30
    count = 10000 if has_room else 1000
    place = tempfile.mkdtemp(prefix="shmbus-cli-", dir="/dev/shm") if has_room else stage
    try:
        with Bus(place, config="[tables]\nendpoints = 12000\n") as bus:
            bus.start()
            bus.good("endpoint", "create", *[f"many.{number:05}" for number in range(count)])
            rows = bus.json("endpoint", "ls")["rows"]
            require(len(rows) == count, len(rows))
            require("many.00007" in bus.good("endpoint", "show", "many.00007"), "show")
            require('"many.00077"' in bus.bad(66, "endpoint", "show", "many.0077"), "nearest")
    finally:
        if has_room:
            shutil.rmtree(place)
