"""The journal.

SPDX-License-Identifier: BSL-1.0
"""
import shutil

from cli_checks.bus import Bus, prepare
from cli_checks.ground import LIMIT, eventually, require, valid


def journal(stage):
    with prepare(Bus(stage, config="journal_segment_bytes = 65536\n")) as bus:
        bus.bad(66, "journal", "stat")
        sent = bus.json("send", "deed", "--to", "work", "--data", "done", "--count", "50")
        require(sent == {"schema": "shmbus.sent/1", "type": "deed", "messages": 50, "durable": True,
                         "copies": None}, sent)
        bus.good("send", "job", "--to", "work", "--data", "this too", "--durable")
        stat = bus.json("journal", "stat")
        require(stat["waiting"] == {"work": 51} and stat["in_service"], stat)
        require(bus.json("journal", "verify")["damages"] == [], "verify")
        kinds = [record["kind"] for record in bus.lines("journal", "dump")]
        require(kinds.count("publish") == 51, kinds)
        bus.bad(75, "journal", "compact")
        backup = bus.folder / "backup"
        # Looked at and copied while messages are written: each time nothing is missing.
        feeder = bus.spawn("send", "deed", "--to", "work", "--data", "x" * 300,
                           "--count", "8000")
        number = 0
        while feeder.poll() is None or number < 4:
            made = bus.json("journal", "backup", str(bus.folder / f"backup-{number}"))
            require(made["last_lsn"] >= stat["last_lsn"], made)
            bus.json("journal", "verify")
            require(bus.json("journal", "stat")["in_service"], "stat")
            number += 1
        require(feeder.wait(LIMIT) == 0, feeder.stderr.read())
        bus.good("endpoint", "purge", "other", "--yes")
        made = bus.json("journal", "backup", str(backup))
        require(valid(bus.json("journal", "--dir", str(backup), "stat"))["waiting"]["work"] == 8051,
                "all are in the backup")
        bus.bad(73, "journal", "backup", str(backup))
        text = bus.bad(75, "journal", "restore", str(backup))
        require("daemon that runs" in text, text)
        bus.good("endpoint", "purge", "work", "--yes")
        eventually(lambda: bus.json("journal", "stat")["waiting"] == {}, "settled")
        bus.stop()
        require("still has its files" in bus.bad(75, "journal", "restore", str(backup)), "files")
        before = bus.json("journal", "stat")
        after = bus.json("journal", "compact")
        # The daemon has done some of it, or all.
        require(after["bytes_after"] <= before["bytes"], (before, after))
        require(after["bytes_after"] <= 5 * 65536, after)
        shutil.rmtree(bus.place)
        bus.bad(73, "journal", "restore", str(backup))
        shutil.rmtree(bus.journal)
        (bus.folder / "empty").mkdir(mode=0o700)
        bus.bad(66, "journal", "restore", str(bus.folder / "empty"))
        bus.good("journal", "restore", str(backup))
        require(bus.json("journal", "verify")["last_lsn"] == made["last_lsn"], "restored")
        bus.start()
        eventually(lambda: bus.row("work") is not None and bus.waiting("work") > 50, "its messages")
        segment = max(backup.glob("seg-*"), key=lambda one: one.read_bytes().rstrip(b"\0") != b"")
        damaged = bytearray(segment.read_bytes())
        for at in range(8192, min(len(damaged), 60000), 512):
            damaged[at] ^= 0xFF
        segment.write_bytes(damaged)
        require(bus.run("journal", "--dir", str(backup), "verify").status in (0, 65), "damaged")
