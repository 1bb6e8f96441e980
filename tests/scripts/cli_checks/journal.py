"""The journal.

SPDX-License-Identifier: BSL-1.0
"""
import csv
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import threading

from cli_checks.bus import Bus, prepare
from cli_checks.ground import BUILD, LIMIT, TOOL, eventually, require, valid


def journal(stage):
    bus = Bus(stage, config="journal_segment_bytes = 65536\n")
    bus.bad(66, "journal", "stat")
    with prepare(bus):
        sent = bus.json("send", "deed", "--to", "work", "--data", "done", "--count", "50")
        require(sent == {"schema": "shmbus.sent/1", "type": "deed", "messages": 50, "durable": True,
                         "copies": None}, sent)
        bus.good("send", "job", "--to", "work", "--data", "this too", "--durable")
        stat = bus.json("journal", "stat")
        require(stat["waiting"] == {"work": 51} and stat["is_sound"], stat)
        require(bus.json("journal", "verify")["damages"] == [], "verify")
        # Where nobody says where it is, it is the one that the daemon has open.
        untold = {"SHMBUS_JOURNAL": ""}
        require(bus.json("journal", "stat", env=untold)["waiting"] == {"work": 51}, "untold")
        require(bus.json("env", env=untold)["journal_directory"] == str(bus.journal), "untold")
        kinds = [record["kind"] for record in bus.lines("journal", "dump")]
        require(kinds.count("publish") == 51, kinds)
        text = bus.bad(75, "journal", "compact")
        require(f"daemon {bus.daemon.pid}" in text and "by itself" in text and
                f"kill {bus.daemon.pid}" in text, text)
        # Of another journal it is another daemon, or none that can be named.
        elsewhere = bus.folder / "elsewhere"
        shutil.copytree(bus.journal, elsewhere)
        with open(elsewhere / "LOCK", "r+", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text = bus.bad(75, "journal", "--dir", str(elsewhere), "compact")
            require(str(bus.daemon.pid) not in text and "try:" in text, text)
        backup = bus.folder / "backup"
        # Looked at and copied while messages are written: each time nothing is missing.
        feeder = bus.spawn("send", "deed", "--to", "work", "--data", "x" * 300,
                           "--count", "8000")
        number = 0
        while feeder.poll() is None or number < 4:
            made = bus.json("journal", "backup", str(bus.folder / f"backup-{number}"))
            require(made["last_lsn"] >= stat["last_lsn"], made)
            bus.json("journal", "verify")
            require(bus.json("journal", "stat")["is_sound"], "stat")
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
        # Somebody is at it already, who has no journal there yet.
        bus.journal.mkdir(mode=0o700, exist_ok=True)
        with open(bus.journal / "LOCK", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text = bus.bad(75, "journal", "restore", str(backup))
            require("another process has the journal in" in text and "fuser -v" in text, text)
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


def backed_up(bus):
    """A backup of 51 messages; neither bus nor journal are there any more."""
    bus.good("send", "deed", "--to", "work", "--data", "x" * 2000, "--count", "50")
    backup = bus.folder / "backup"
    bus.stop()
    bus.good("journal", "backup", str(backup))
    shutil.rmtree(bus.place)
    shutil.rmtree(bus.journal)
    return backup


def files_in(journal):
    return sorted(path.name for path in journal.iterdir()) if journal.exists() else []


def restored_by(bus, backup, script):
    """By a script that has the command and the two directories as $0, $1, $2."""
    return subprocess.run(["sh", "-c", script, TOOL, str(backup), str(bus.journal)],
                          env=bus.environment, capture_output=True, text=True, check=False,
                          timeout=LIMIT)


def short_of_room(bus, backup):
    """Refused with its reason, and nothing is left that could be taken for a journal."""
    said = restored_by(bus, backup, "trap '' XFSZ; ulimit -f 64; \"$0\" journal restore \"$1\"")
    require(said.returncode not in (0, 70) and "File too large" in said.stderr, said)
    require(files_in(bus.journal) == ["LOCK"], files_in(bus.journal))
    shutil.rmtree(bus.journal)
    bus.journal.mkdir(mode=0o700)
    said = restored_by(bus, backup, """exec unshare -m sh -c '
        mount -t tmpfs -o size=96k,mode=0700 none "$2" || exit 1
        "$0" journal restore "$1"; status=$?
        ls -A "$2"
        exit $status' "$0" "$1" "$2\"""")
    if said.returncode not in (1, 127):  # mounting is not permitted here
        require(said.returncode not in (0, 70), said)
        require("No space left on device" in said.stderr, said)
        require(said.stdout == "LOCK\n", said)
    shutil.rmtree(bus.journal)


def cut_off(bus, backup):
    """Killed in the middle of a segment: what is there is believed by nobody."""
    said = restored_by(bus, backup, 'ulimit -c 0; ulimit -f 64; exec "$0" journal restore "$1"')
    require(said.returncode == -signal.SIGXFSZ, said)
    left = files_in(bus.journal)
    require(any(name.startswith("seg-") for name in left) and "superblock" not in left, left)


def restore(stage):
    with prepare(Bus(stage, config="journal_segment_bytes = 65536\n")) as bus:
        backup = backed_up(bus)
        short_of_room(bus, backup)
        for all_but_the_last in (False, True):
            cut_off(bus, backup)
            if all_but_the_last:
                shutil.rmtree(bus.journal)
                shutil.copytree(backup, bus.journal, ignore=shutil.ignore_patterns("superblock"))
            require("was cut off" in bus.bad(65, "journal", "verify"), "verify")
            bus.bad(73, "journal", "restore", str(backup))
            bus.start()
            bus.good("type", "add", "job", "command")
            bus.good("type", "add", "deed", "command", "--durable")
            bus.good("endpoint", "create", "work")
            text = bus.bad(69, "send", "deed", "--to", "work", "--data", "no")
            require("was cut off" in text, text)
            bus.good("send", "job", "--to", "work", "--data", "goes on")
            bus.stop()
            shutil.rmtree(bus.place)
            shutil.rmtree(bus.journal)
        made = bus.json("journal", "restore", str(backup))
        require(bus.json("journal", "verify")["last_lsn"] == made["last_lsn"], "restored")
        bus.start()
        eventually(lambda: bus.row("work") is not None and bus.waiting("work") > 0, "its messages")


def losses(stage):
    """What is lost is named in every form, and accepted as a whole or not at all."""
    with prepare(Bus(stage)) as bus:
        body = b"to be lost".ljust(300)
        bus.good("send", "deed", "--to", "work", "--data", body.decode(), "--count", "5")
        bus.stop()
        require(bus.json("journal", "accept-loss", "--all")["rows"] == [], "nothing is lost")
        segment = next(one for one in bus.journal.glob("seg-*") if body in one.read_bytes())
        whole = segment.read_bytes()
        segment.write_bytes(whole.replace(body, b"x" * len(body), 2))
        said = bus.run("--json", "journal", "verify")
        damages = valid(json.loads(said.out))["damages"]
        require(said.status == 65 and len(damages) == 2, said)
        rows = list(csv.DictReader(io.StringIO(bus.run("--format", "csv", "journal", "verify").out)))
        require(len(rows) == 1 and rows[0]["is_sound"] == "no", rows)
        for text in ("5-3", "0", "-5", "x", "1-99999999999999999999", "1-", "1 - 2", "1-2-3", "+1"):
            bus.bad(64, "journal", "accept-loss", "--", text)
        require("as a whole" in bus.run("journal", "accept-loss",
                                        str(damages[0]["first_lsn"])).err, "a part of it")
        for words in (["compact"], ["backup", str(bus.folder / "copy")]):
            text = bus.bad(65, "journal", *words)
            require("verify" in text and "\n\n" not in text, text)
        # Somebody looks at it just now, as a daemon does that waits for the acceptance.
        with open(bus.journal / "LOCK", "rb") as looked_at:
            fcntl.flock(looked_at, fcntl.LOCK_EX)
            release = threading.Timer(0.5, fcntl.flock, (looked_at, fcntl.LOCK_UN))
            release.start()
            accepted = bus.json(
                "journal", "accept-loss",
                *[f"{one['first_lsn']}-{one['last_lsn']}" for one in damages])["rows"]
            release.join()
        require([row["first_lsn"] for row in accepted] == [one["first_lsn"] for one in damages],
                accepted)
        require(bus.json("journal", "verify")["is_sound"], "accepted")
        # A daemon that has not come across it yet has the journal open.
        bus.start()
        bus.good("send", "deed", "--to", "work", "--data", body.decode())
        segment = next(one for one in bus.journal.glob("seg-*") if body in one.read_bytes())
        whole = segment.read_bytes()
        segment.write_bytes(whole.replace(body, b"x" * len(body)))
        text = bus.bad(75, "journal", "accept-loss", "--all")
        require(f"daemon {bus.daemon.pid} has the journal in" in text and
                f"kill {bus.daemon.pid}" in text, text)


def run_top(bus, env, how):
    return subprocess.run([BUILD / "tools/top/shm-top", how, "-n", "1"], capture_output=True,
                          text=True, timeout=LIMIT, env=dict(bus.environment, **env))


def seen_by_top(bus, env):
    """The journal as shm-top has it."""
    said = run_top(bus, env, "--json")
    require(said.returncode == 0, said.stderr)
    return json.loads(said.stdout)["journal"]


def not_taken_up(stage):
    """After a reboot with a journal that cannot be taken up that is told, wherever it lies."""
    with prepare(Bus(stage)) as bus:
        body = b"to be lost".ljust(300)
        bus.good("send", "deed", "--to", "work", "--data", body.decode())
        require(bus.run("check", "journal").status == 0, "it serves")
        bus.stop()
        segment = next(one for one in bus.journal.glob("seg-*") if body in one.read_bytes())
        whole = segment.read_bytes()
        segment.write_bytes(whole.replace(body, b"x" * len(body)))
        shutil.rmtree(bus.place)
        bus.start()
        # What only the daemon was told.
        elsewhere = {"SHMBUS_JOURNAL": ""}
        for env in ({}, elsewhere):
            said = bus.run("check", "journal", env=env)
            require(said.status == 2 and "out of service" in said.out, said)
            require("has stopped using it" in bus.run("doctor", env=env).out, "doctor")
            require(bus.run("doctor", env=env).status != 0, "doctor")
        bus.stop()
        bus.good("journal", "accept-loss", "--all")
        superblock = bus.journal / "superblock"
        whole = superblock.read_bytes()
        superblock.write_bytes(bytes(len(whole)))
        shutil.rmtree(bus.place)
        bus.start()
        # Nobody knows which row would be free for it, so it has none.
        said = bus.run("check", "journal")
        require(said.status == 2 and str(bus.journal) in said.out, said)
        said = bus.run("check", "journal", env=elsewhere)
        require(said.status == 2 and "is not taken up" in said.out, said)
        for env in ({}, elsewhere):
            require("is not taken up" in bus.run("doctor", env=env).out, "doctor")
            said = seen_by_top(bus, env)
            require((said["condition"], said["path"]) == ("not taken up", str(bus.journal)), said)
            said = run_top(bus, env, "-b").stdout
            require("Journal not taken up" in said, said)
            said = bus.good("metrics", env=env)
            require('shmbus_journal_in_service{bus="shop"} 0' in said, said)
        bus.stop()
        superblock.write_bytes(whole)
        shutil.rmtree(bus.place)
        bus.start()
        require(bus.run("check", "journal").status == 0, "accepted")
        require("is not taken up" not in bus.run("doctor").out, "doctor, accepted")
        require(seen_by_top(bus, {})["condition"] == "in service", "accepted")


def where_it_lies(stage):
    """While no daemon runs the bus tells where the last one had it."""
    with Bus(stage) as bus:
        bus.environment["SHMBUS_JOURNAL"] = ""
        own = bus.folder / "a path of its own"
        is_root = os.geteuid() == 0
        bus.start(["--journal", str(own)])
        bus.good("type", "add", "deed", "command", "--durable")
        bus.good("endpoint", "create", "work")
        bus.good("send", "deed", "--to", "work", "--data", "x")
        bus.stop(signal.SIGKILL)
        require(bus.json("env")["journal_directory"] == str(own), bus.json("env"))
        require(bus.json("journal", "stat")["waiting"] == {"work": 1}, "its journal")
        require(str(own) in bus.run("doctor").out, "doctor")
        require(seen_by_top(bus, {})["path"] == str(own), "shm-top")
        # Another one, which is a copy, has not.
        copy = bus.place.parent / "copy"
        shutil.copytree(bus.place, copy, ignore=lambda _, names: {"control.sock"} & set(names))
        require(bus.json("--bus", str(copy), "env")["journal_directory"] != str(own), "a copy")
        # Where members of a group may put files nobody's word is believed.
        bus.place.chmod(0o770)
        require(bus.json("env")["journal_directory"] != str(own), "a group's")
        bus.place.chmod(0o700)
        # What somebody else puts there is not believed; nor what is no such word.
        word = bus.place / "journal.place"
        text = word.read_text()
        if is_root:
            os.chown(word, 65534, 65534)
            require(bus.json("env")["journal_directory"] != str(own), "a stranger's word")
            os.chown(word, 0, 0)
        for wrong in ("", "\n", text[:-1], text + "x", "x" * 10000):
            word.write_text(wrong)
            require(bus.json("env")["journal_directory"] != str(own), wrong[:100])
        # Each that takes the journal up says where; one that looks for it elsewhere does not.
        bus.start(["--journal", str(own)])
        require(word.read_text() == text, word.read_text())
        bus.stop(signal.SIGKILL)
        bus.start(["--journal", str(own) + "2"])
        require(word.read_text() == text, word.read_text())
        bus.stop(signal.SIGKILL)
        bus.start()
        bus.good("send", "deed", "--to", "work", "--data", "y")
        require(bus.json("journal", "stat")["waiting"] == {"work": 2}, "its journal again")


def one_that_is_gone(stage):
    """The daemon's reason, which has lines of its own, is one line of ours."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "deed", "--to", "work", "--data", "x")
        bus.stop()
        shutil.rmtree(bus.journal)
        bus.start()
        text = bus.bad(69, "send", "deed", "--to", "work", "--data", "x")
        first, *more = text.splitlines()
        require(str(bus.journal) in first and "[no_journal]" in first and len(more) == 2, text)
        bus.good("send", "job", "--to", "work", "--data", "goes on")
