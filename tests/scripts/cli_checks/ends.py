"""How the daemon and the command end when they cannot do it: statuses, and what they say.

SPDX-License-Identifier: BSL-1.0
"""
import os
import re
import signal
import subprocess
import unittest

from cli_checks.bus import Bus, Said, prepare
from cli_checks.ground import DAEMON, LIMIT, TOOL, eventually, require

NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}


def daemon_ends(bus, status, *words, env=None, program=(DAEMON,), name="shmbusd", **more):
    """Ends at once with that status, and says why in the form that all programs have."""
    said = Said(subprocess.run([*program, *words], env=dict(bus.environment, **(env or {})),
                               stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               timeout=LIMIT, **more))
    require(said.status == status, f"{words} should end with {status}: {said}")
    lines = said.err.splitlines()
    require(re.match(rf"{name}: \S", lines[0]), said)
    require(all(re.match("  (likely|try|more): ", line) for line in lines[1:]), said)
    return said.err


def daemon_statuses(stage):
    with prepare(Bus(stage)) as bus:
        for program, name in (((DAEMON,), "shmbusd"), ((TOOL, "run"), "shmbus(d)?")):
            daemon_ends(bus, 64, "--bogus", program=program, name=name)
            daemon_ends(bus, 64, "--idle-exit", "soon", program=program, name=name)
        for program in ((DAEMON,), (TOOL, "run")):
            text = daemon_ends(bus, 75, program=program)
            require("has one" in text and "try:" in text, text)
        daemon_ends(bus, 64, "--bus", "no good name")
        for option in ("--bus", "--dir", "--group", "--config", "--journal"):
            require("it is empty" in daemon_ends(bus, 64, option, ""), option)
        bus.stop()
        other = str(bus.folder / "other" / "shop")
        for text in ("bogus = 1\n", "log_level = 7\n", "[tables]\nendpoints = -1\n", "= =\n",
                     'group = "no such group"\n'):
            config = bus.folder / "wrong.toml"
            config.write_text(text)
            for program in ((DAEMON,), (TOOL, "run")):
                said = daemon_ends(bus, 78, "--config", str(config), program=program)
                require("wrong.toml" in said or "no such group" in said, said)
        daemon_ends(bus, 78, "--config", str(bus.folder / "none.toml"))
        daemon_ends(bus, 78, "--group", "no such group")
        daemon_ends(bus, 78, env={"SHMBUS_LOG": "loud"})
        for place in (other, "/proc/shop", "/dev/null/shop", str(bus.config)):
            daemon_ends(bus, 73, "--dir", place)
        open_to_all = bus.folder / "open"
        open_to_all.mkdir()
        open_to_all.chmod(0o777)
        require("chmod" in daemon_ends(bus, 77, "--dir", str(open_to_all)), "open to all")
        tables = bus.place / "directory"
        whole = tables.read_bytes()
        tables.write_bytes(b"\x55" * len(whole))
        require(str(tables) in daemon_ends(bus, 65), "damaged tables")
        tables.write_bytes(whole)


def without_permission(stage):
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can be somebody else")
    with prepare(Bus(stage)) as bus:
        for folder in (stage, bus.folder, bus.folder / "buses"):
            os.chmod(folder, 0o755)
        daemon_ends(bus, 77, **NOBODY)
        daemon_ends(bus, 77, "--dir", str(bus.folder / "new"), **NOBODY)
        for words in (["send", "job", "--data", "x"], ["publish", "news", "--data", "x"],
                      ["request", "job", "--data", "x"], ["type", "add", "x", "event"],
                      ["sub", "add", "work", "news"], ["endpoint", "create", "x"],
                      ["endpoint", "purge", "work", "--yes"], ["get", "work", "--yes"],
                      ["copy", "work", "other"], ["move", "work", "other"],
                      ["failed", "ls"], ["failed", "retry", "--all"], ["tail", "work"],
                      ["serve", "work", "--type", "job", "--command", "cat"], ["metrics"],
                      ["journal", "--dir", str(bus.folder / "private"), "backup", "/root/x"]):
            private = bus.folder / "private"
            private.mkdir(mode=0o700, exist_ok=True)
            bus.bad(77, *words, **NOBODY)


def places_for_copies(stage):
    """A copy that cannot be made there ends with 73, one that may not with 77."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "deed", "--to", "work", "--data", "x")
        for place in ("/proc/x", "/dev/null/x", str(bus.folder / "no" / "such"), str(bus.config)):
            text = bus.bad(73, "journal", "backup", place)
            require(place in text, text)
        open_to_all = bus.folder / "open"
        open_to_all.mkdir()
        open_to_all.chmod(0o777)
        bus.bad(77, "journal", "backup", str(open_to_all))


def first_words(stage):
    """What a newcomer types first works, or says what to do."""
    with Bus(stage) as bus:
        starts = {"env": {"SHMBUS_START_DAEMON": "1"}}
        for verb in ("send", "publish", "request"):
            text = bus.bad(66, verb, "order", "--data", "x", **starts)
            require("shmbus type add" in text and "[no_type]" in text, text)
        alive = bus.good("check", "alive")
        daemon = int(re.search(r"daemon (\d+) answers", alive).group(1))
        try:
            first_traffic(bus)
        finally:
            os.kill(daemon, signal.SIGTERM)
    with Bus(stage) as bus:
        # Why the daemon did not begin is one of three lines, not lines of its own.
        text = bus.bad(69, "type", "add", "order", "command",
                       env={"SHMBUS_START_DAEMON": "1", "SHMBUS_CONFIG": "/nope"})
        require(len(text.splitlines()) == 4 and "/nope" in text, text)
        require(text.count("try:") == 1 and text.count("shmbusd: ") == 1, text)
    with Bus(stage) as bus:
        text = bus.bad(69, "publish", "order", "--data", "x")
        require("turned off" in text and "shmbus run" in text, text)


def first_traffic(bus):
    bus.good("type", "add", "order", "command")
    bus.good("type", "add", "ordered", "event")
    bus.good("endpoint", "create", "orders")
    text = bus.bad(69, "send", "order", "--data", "x")
    require("shmbus endpoint create NAME --handles TYPE" in text and "--to" in text, text)
    bus.bad(66, "endpoint", "create", "orders", "--handles", "bogus")
    bus.bad(66, "endpoint", "create", "fresh", "--handles", "bogus")
    require(bus.row("fresh") is None, "one that handles nothing was made")
    bus.bad(64, "endpoint", "create", "orders", "--handles", "ordered")
    bus.bad(64, "endpoint", "create", "orders", "more", "--handles", "order")
    bus.good("endpoint", "create", "--handles", "order", "orders")
    require(bus.json("type", "show", "order")["handled_by"] == "orders", "it is known now")
    bus.good("send", "order", "--data", "x")
    require(bus.waiting("orders") == 1, "sent before anybody runs")
    text = bus.bad(75, "endpoint", "create", "others", "--handles", "order")
    require("orders" in text, text)
    # Options that are said several times take one word each.
    require(len(bus.lines("tail", "--type", "order", "orders")) == 1, "tail")
    require(len(bus.lines("peek", "--type", "order", "--type", "ordered", "orders")) == 1, "peek")


def stopped_daemon(stage):
    """Whatever asks it ends in time, and says that it does not answer; what looks does not ask."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--data", "x")
        bus.good("send", "job", "--to", "error", "--data", "x")
        archive = str(bus.folder / "archive")
        bus.good("failed", "export", "--all", "--file", archive)
        bus.daemon.send_signal(signal.SIGSTOP)
        try:
            asking = {line: bus.spawn(*line.split()) for line in (
                "type add z command", "endpoint create z", "endpoint rm other", "sub add work news",
                "endpoint purge work --yes", "send job --to work --data y",
                "send deed --to work --data y", "publish news --data y",
                "request job --to work --data y", "get work --yes", "copy work other",
                "move work other", "failed retry --all --to work", f"failed edit {'6'} --data y",
                f"failed archive --all --file {archive}.2",
                f"failed restore --all --file {archive}",
                "serve work --type job --command cat")}
            for line in ("ls", "endpoint ls", "endpoint show work", "peek work", "tail work",
                         "failed ls", "process ls", "metrics"):
                bus.good(*line.split())
            for line, child in asking.items():
                said = child.communicate(timeout=LIMIT)[1]
                require(child.returncode == 75 and "does not answer" in said, f"{line}: {said}")
        finally:
            bus.daemon.send_signal(signal.SIGCONT)
        eventually(lambda: bus.depth("work") == 1 and bus.depth("error") == 1, "nothing was done")
        bus.good("endpoint", "purge", "work", "--yes")
