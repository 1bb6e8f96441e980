"""A bus with a daemon of its own, and the shmbus command as it is called on it.

SPDX-License-Identifier: BSL-1.0
"""
import json
import os
import pathlib
import signal
import subprocess
import tempfile

from cli_checks.ground import DAEMON, LIMIT, TOOL, eventually, require, valid


class Said:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"status {self.status}\n{self.out}\n{self.err}"


class Bus:
    """A directory of buses with one bus in it, its journal, and a daemon of our own."""

    def __init__(self, stage, name="shop", config=""):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=stage))
        self.place = self.folder / "buses" / name
        (self.folder / "buses").mkdir(mode=0o700)
        self.journal = self.folder / "journal"
        self.config = self.folder / "shmbusd.toml"
        self.config.write_text(config)
        self.environment = dict(
            os.environ, SHMBUS_DIR=str(self.folder / "buses"), SHMBUS_BUS=name,
            SHMBUS_JOURNAL=str(self.journal), SHMBUS_DAEMON=DAEMON, SHMBUS_START_DAEMON="0",
            LC_ALL="C.UTF-8")
        for variable in ("NO_COLOR", "SHMBUS_CONFIG", "SHMBUS_LOG", "VISUAL", "EDITOR"):
            self.environment.pop(variable, None)
        self.daemon = None
        self.children = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children + [self.daemon]:
            if child and child.poll() is None:
                child.kill()
            if child:
                child.wait()

    def start(self, more=()):
        self.daemon = subprocess.Popen([DAEMON, "--config", str(self.config), *more],
                                       env=self.environment, stdin=subprocess.DEVNULL,
                                       stderr=open(self.folder / "daemon.log", "ab"))
        eventually(lambda: self.run("check", "alive").status == 0, "a daemon that answers")
        return self

    def stop(self, how=signal.SIGTERM):
        self.daemon.send_signal(how)
        self.daemon.wait(LIMIT)

    def run(self, *words, **more):
        return self.run_program(TOOL, *words, **more)

    def run_program(self, *words, stdin="", env=None, **more):
        variables = dict(self.environment, **(env or {}))
        return Said(subprocess.run(words, input=stdin, capture_output=True, text=True,
                                   timeout=LIMIT, env=variables, **more))

    def good(self, *words, **more):
        said = self.run(*words, **more)
        require(said.status == 0, f"{words}: {said}")
        return said.out

    def bad(self, status, *words, **more):
        said = self.run(*words, **more)
        require(said.status == status, f"{words} should end with {status}: {said}")
        require(said.err.startswith("shmbus: "), f"{words}: {said}")
        return said.err

    def json(self, *words, **more):
        return valid(json.loads(self.good("--json", *words, **more)))

    def lines(self, *words, **more):
        objects = [json.loads(line) for line in self.good("--json", *words, **more).splitlines()]
        for one in objects[:20]:
            valid(one)
        return objects

    def spawn(self, *words, **more):
        child = subprocess.Popen([TOOL, *words], env=self.environment, text=True,
                                 **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                                    "stderr": subprocess.PIPE, **more})
        self.children.append(child)
        return child

    def row(self, endpoint):
        for row in self.json("endpoint", "ls")["rows"]:
            if row["endpoint"] == endpoint:
                return row
        return None

    def waiting(self, endpoint):
        return self.row(endpoint)["waiting"]

    def depth(self, endpoint):
        row = self.row(endpoint)
        return row["waiting"] + row["in_hand"] + row["on_disk"]

    def is_served(self, endpoint):
        row = self.row(endpoint)
        return row is not None and row["consumers"] > 0


def prepare(bus):
    """Types of all sorts and two endpoints."""
    bus.start()
    bus.good("type", "add", "job", "command")
    bus.good("type", "add", "job.answer", "reply")
    bus.good("type", "add", "fixed", "command", "--bytes", "8", "--alignment", "8")
    bus.good("type", "add", "news", "event")
    bus.good("type", "add", "deed", "command", "--durable")
    bus.good("endpoint", "create", "work", "other")
    bus.good("endpoint", "create", "error", "--error")
    return bus


def fail_some(bus, type_name, texts):
    """Messages that a script refuses, in the endpoint of failed ones."""
    script = bus.folder / "handle"
    script.write_text("#!/bin/sh\nread -r text\ntest ! -e \"$0.fails\"\n")
    script.chmod(0o755)
    (bus.folder / "handle.fails").touch()
    server = bus.spawn("serve", "work", "--type", type_name, "--attempts", "1", "--quiet",
                       "--command", str(script), stderr=subprocess.DEVNULL)
    eventually(lambda: bus.json("type", "show", type_name)["handled_by"] == "work", "announced")
    for text in texts:
        bus.good("send", type_name, "--data", text)
    eventually(lambda: len(bus.json("failed", "ls")["rows"]) == len(texts), "failed messages")
    return server
