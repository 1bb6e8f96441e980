"""Messages that failed.

SPDX-License-Identifier: BSL-1.0
"""
import json

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
