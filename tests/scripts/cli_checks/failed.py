"""Messages that failed.

SPDX-License-Identifier: BSL-1.0
"""
import json
import subprocess

from cli_checks.bus import Bus, fail_some, prepare
from cli_checks.ground import LIMIT, eventually, require, valid


def failed_messages(stage, type_name):
    with prepare(Bus(stage)) as bus:
        server = fail_some(bus, type_name, ["a", "b", "c", "d", "e"])
        rows = bus.json("failed", "ls")["rows"]
        require({row["reason"] for row in rows} == {"handler_threw"}, rows)
        require({row["failed_at"] for row in rows} == {"work"}, rows)
        require("status 1" in rows[0]["what"], rows[0])
        by_text = {}
        for row in rows:
            by_text[valid(bus.json("failed", "show", row["id"]))["text"]] = row["id"]
        require(sorted(by_text) == ["a", "b", "c", "d", "e"], by_text)
        for group, key in (("reason", "handler_threw"), ("type", type_name), ("endpoint", "work")):
            groups = bus.json("failed", "ls", "--group-by", group)["rows"]
            require(groups == [{group: key, "messages": 5}], groups)
        bus.bad(64, "failed", "retry")
        bus.bad(66, "failed", "retry", "f" * 32)
        bus.bad(66, "failed", "show", "f" * 32)
        bus.good("failed", "retry", "--all", "--dry-run")
        # It fails once more, under its id, and is there once more.
        bus.good("failed", "retry", by_text["c"])
        eventually(lambda: len(bus.json("failed", "ls")["rows"]) == 5, "the one that failed again")
        require(by_text["c"] in {row["id"] for row in bus.json("failed", "ls")["rows"]}, "its id")
        bus.good("failed", "edit", by_text["d"], "--data", "D")
        require(bus.json("failed", "show", by_text["d"])["text"] == "D", "edited")
        archive = bus.folder / "archive"
        bus.good("failed", "archive", by_text["a"], "--file", str(archive))
        record = valid(json.loads(archive.read_text()))
        require(record["text"] == "a" and record["failure"]["endpoint"] == "work", record)
        require(len(bus.json("failed", "ls")["rows"]) == 4, "archived")
        bus.bad(66, "failed", "retry", "--reason", "process_died")
        (bus.folder / "handle.fails").unlink()
        bus.good("failed", "retry", by_text["b"])
        eventually(lambda: bus.row("work")["in_hand"] + bus.waiting("work") == 0, "b handled")
        require(len(bus.json("failed", "ls")["rows"]) == 3, bus.json("failed", "ls"))
        bus.good("failed", "retry", "--type", type_name)
        eventually(lambda: bus.row("work")["in_hand"] + bus.waiting("work") == 0, "all handled")
        require(bus.json("failed", "ls")["rows"] == [], bus.json("failed", "ls"))
        server.terminate()
        server.wait(LIMIT)


def failed_on_disk(stage):
    """More failed messages than fit into the lane: all of them are meant all the same."""
    count = 2000
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "other.deed", "command", "--durable")
        bus.good("endpoint", "create", "lost", "--lane-bytes", "4096", "--error")
        numbers = "".join(f"{number}\n" for number in range(count))
        bus.good("send", "deed", "--to", "lost", "--lines", stdin=numbers)
        require(f"{bus.row('lost')['on_disk']} more wait on disk"
                in bus.run("failed", "--endpoint", "lost", "ls").err, "ls says what it leaves out")
        text = bus.good("failed", "--endpoint", "lost", "retry", "--all", "--to", "work")
        require(f"sent back {count} messages" in text, text)
        eventually(lambda: bus.row("work")["waiting"] + bus.row("work")["on_disk"] == count,
                   lambda: bus.row("work"))
        bus.good("move", "work", "lost")
        eventually(lambda: bus.row("lost")["waiting"] + bus.row("lost")["on_disk"] == count,
                   lambda: bus.row("lost"))
        archive = bus.folder / "archive"
        text = bus.good("failed", "--endpoint", "lost", "archive", "--type", "deed", "--file",
                        str(archive))
        require(f"archived {count} messages" in text, text)
        texts = [json.loads(line)["text"] for line in archive.read_text().splitlines()]
        require(texts == numbers.splitlines(), texts[:10])
        eventually(lambda: bus.row("lost")["waiting"] + bus.row("lost")["on_disk"] == 0,
                   lambda: bus.row("lost"))
        # What is passed over cannot be held: it would keep the room that the next needs.
        bus.good("send", "deed", "--to", "lost", "--lines", stdin=numbers)
        bus.good("send", "other.deed", "--to", "lost", "--data", "the last one")
        text = bus.good("failed", "--endpoint", "lost", "retry", "--type", "other.deed",
                        "--to", "work")
        require("sent back 1 messages" in text, text)
        eventually(lambda: bus.row("work")["waiting"] == 1, lambda: bus.row("work"))
        require(left_in_order(bus, "lost", "deed") == numbers.splitlines(), "the others, in order")


def left_in_order(bus, endpoint, type_name):
    """What messages of that type say, oldest first; afterwards they are gone."""
    archive = bus.folder / f"left-{endpoint}"
    bus.good("failed", "--endpoint", endpoint, "archive", "--type", type_name, "--file",
             str(archive))
    return [json.loads(line)["text"] for line in archive.read_text().splitlines()]


def failed_behind_thousands(stage):
    """More that are not meant than a process has hands for, and than fit into one lane."""
    each = 5000
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "other", "command")
        # Nobody handles these types there: all of one process fail at once, into its one lane.
        sent = [[f"{server} {number}" for number in range(each)] for server in range(4)]
        for lines in sent:
            server = bus.spawn("serve", "work", "--type", "fixed", "--quiet", "--command", "cat",
                               stderr=subprocess.DEVNULL)
            before = bus.waiting("error")
            bus.good("send", "job", "--to", "work", "--lines", stdin="\n".join(lines) + "\n")
            eventually(lambda: bus.waiting("error") == before + each, lambda: bus.row("error"))
            if lines is sent[-1]:
                bus.good("send", "other", "--to", "work", "--data", "the last", "--count", "3")
                eventually(lambda: bus.waiting("error") == 4 * each + 3, lambda: bus.row("error"))
            server.terminate()
            server.wait(LIMIT)
        text = bus.good("failed", "retry", "--type", "other", "--to", "other")
        require("sent back 3 messages" in text, text)
        eventually(lambda: bus.waiting("other") == 3, lambda: bus.row("other"))
        left = left_in_order(bus, "error", "job")
        # What was held comes first, a hand at a time, in no order of hands.
        require(sorted(left) == sorted(sum(sent, [])), len(left))
