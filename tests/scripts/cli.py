#!/usr/bin/env python3
"""The shmbus command as a user types it: every verb, and every way to get it wrong.

Prints "ok NAME", "not ok NAME" with the reason, or "skip NAME: reason", one line a check.
SPDX-License-Identifier: BSL-1.0
"""
import json
import os
import pathlib
import pty
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(os.environ.get("SHMBUS_SOURCE_ROOT",
                                   pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                     else os.environ.get("SHMBUS_BUILD_ROOT", ROOT / "build")).resolve()
TOOL = str(BUILD / "tools/shmbus")
DAEMON = str(BUILD / "tools/shmbusd")
LIMIT = 20  # seconds that anything may take

validators = {}
try:
    import jsonschema
    SCHEMAS = json.loads((ROOT / "tools/cli/schemas.json").read_text())
except ImportError:
    jsonschema = None


class Failed(Exception):
    """A check that did not hold; its text says what was seen."""


def require(holds, seen):
    if not holds:
        raise Failed(str(seen))


def eventually(holds, what):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.005)
    raise Failed(f"never came: {what}")


def valid(thing):
    """A JSON object of the tool that is as its schema says."""
    if jsonschema:
        require(thing["schema"] in SCHEMAS["definitions"], f"no schema {thing['schema']}")
        if thing["schema"] not in validators:
            definition = dict(SCHEMAS["definitions"][thing["schema"]],
                              definitions=SCHEMAS["definitions"])
            validators[thing["schema"]] = jsonschema.Draft7Validator(definition)
        validators[thing["schema"]].validate(thing)
    return thing


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

    def start(self):
        self.daemon = subprocess.Popen([DAEMON, "--config", str(self.config)],
                                       env=self.environment, stdin=subprocess.DEVNULL,
                                       stderr=open(self.folder / "daemon.log", "ab"))
        eventually(lambda: self.run("check", "alive").status == 0, "a daemon that answers")
        return self

    def stop(self, how=signal.SIGTERM):
        self.daemon.send_signal(how)
        self.daemon.wait(LIMIT)

    def run(self, *words, stdin="", env=None, **more):
        variables = dict(self.environment, **(env or {}))
        return Said(subprocess.run([TOOL, *words], input=stdin, capture_output=True, text=True,
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


# ---- the checks

def without_a_bus(stage):
    with Bus(stage) as bus:
        text = bus.bad(69, "ls")
        require("[no_bus]" in text and str(bus.place) in text and "try:" in text, text)
        require(not bus.place.exists(), "looking has made something")
        for words in (["endpoint", "ls"], ["tail", "x"], ["peek", "x"], ["process", "ls"],
                      ["failed", "ls"], ["move", "a", "b", "--dry-run"]):
            bus.bad(69, *words)
        bus.bad(69, "endpoint", "create", "x")
        require(bus.run("check").status == 3, bus.run("check"))
        require(bus.run("doctor").status == 69, bus.run("doctor"))
        bus.bad(66, "journal", "stat")
        require(not bus.place.exists(), "something was made")


def wrong_words(stage):
    with Bus(stage) as bus:
        require("no command" in bus.bad(64, "bogus"), "a command that is none")
        bus.bad(64)
        bus.bad(64, "endpoint")
        bus.bad(64, "ls", "--bogus")
        bus.bad(64, "--format", "xml", "ls")
        bus.bad(64, "--bus", "no good name", "ls")
        require("Exit statuses" in bus.good("--help"), "statuses in the help")
        require(re.match(r"\d+\.\d+\.\d+\n", bus.good("version")), "version")
        require(bus.json("version")["version"] + "\n" == bus.good("--version"), "versions")
        require(bus.json("env")["bus_directory"] == str(bus.place), "env")


def plugins(stage):
    with Bus(stage) as bus:
        plugin = bus.folder / "shmbus-hello"
        plugin.write_text('#!/bin/sh\necho "$SHMBUS_BUS $*"\nexit 7\n')
        plugin.chmod(0o755)
        path = {"PATH": f"{bus.folder}:{os.environ['PATH']}"}
        said = bus.run("--bus", "yard", "hello", "a", "--b", env=path)
        require(said.status == 7 and said.out == "yard a --b\n", said)
        plugin.chmod(0o644)
        require(bus.run("hello", env=path).status in (64, 77), "a program that may not be run")


def every_code_is_explained(stage):
    header = (ROOT / "include/shmbus/result.h").read_text()
    body = header[header.index("enum class ErrorCode"):]
    codes = re.findall(r"^    (\w+)[ ,=]", body[:body.index("};")], re.M)
    require(len(codes) > 15, codes)
    with Bus(stage) as bus:
        for code in codes[1:] + ["no_bus", "no_type", "no_message", "in_hand", "69", "endpoint"]:
            require(len(bus.good("help", code)) > 40, code)
        listed = bus.good("help")
        require(all(f"  {code}\n" in listed for code in codes), listed)
        bus.bad(66, "help", "bogus")


def commands_of(help_text):
    """Names in the list of subcommands."""
    found = re.search(r"^Subcommands:\n((?:  .*\n)+)", help_text, re.M)
    return re.findall(r"^  (\S+)", found.group(1), re.M) if found else []


def every_verb_is_documented(stage):
    page = (ROOT / "tools/man/shmbus.1").read_text().replace("\\-", "-")
    with Bus(stage) as bus:
        completion = bus.good("completion", "bash")
        verbs = []
        for noun in commands_of(bus.good("--help")):
            below = commands_of(bus.good(noun, "--help"))
            verbs += [f"{noun} {verb}" for verb in below] or [noun]
        require(len(verbs) > 40, verbs)
        for verb in verbs:
            require(re.search(rf'^\.(B|BR|BI) "?{re.escape(verb)}\b', page, re.M),
                    f"'{verb}' is not in shmbus.1")
            noun, _, rest = verb.partition(" ")
            path = f"shmbus {noun}" if rest else "shmbus"
            row = re.search(rf'^_shmbus_words\["{path}"\]="(.*)"$', completion, re.M)
            require(row and (rest or noun) in row.group(1).split(), f"'{verb}' is not completed")
        for status in re.findall(r"^ +(\d+)  ", bus.good("--help"), re.M):
            require(re.search(rf"^\.B {status}$", page, re.M), f"status {status} in shmbus.1")


def completion_in_bash(stage):
    with prepare(Bus(stage)) as bus:
        script = (f'PATH="{BUILD}/tools:$PATH"; source <(shmbus completion bash)\n'
                  'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shmbus; '
                  'echo "${COMPREPLY[*]}"; }\n'
                  'try shmbus end\ntry shmbus endpoint show w\ntry shmbus --bus shop send j\n'
                  'try shmbus journal --d\n')
        said = subprocess.run(["bash", "-c", script], env=bus.environment, capture_output=True,
                              text=True, timeout=LIMIT)
        lines = said.stdout.splitlines()
        require(lines[:2] == ["endpoint", "work"] and lines[2].split() == ["job", "job.answer"]
                and lines[3] == "--dir", said)


def at_a_terminal(bus, *words, types="", env=None):
    """What the tool says to somebody who sits at a terminal, and its status."""
    mine, its = pty.openpty()
    child = subprocess.Popen([TOOL, *words], stdin=its, stdout=its, stderr=its,
                             env=dict(bus.environment, **dict({"TERM": "xterm"}, **(env or {}))),
                             start_new_session=True)
    os.close(its)
    os.write(mine, types.encode())
    said = b""
    while True:
        try:
            part = os.read(mine, 4096)
        except OSError:  # the other end is gone
            break
        if not part:
            break
        said += part
    os.close(mine)
    return child.wait(LIMIT), said.decode()


def terminals(stage):
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--data", "one", "--count", "3")
        status, said = at_a_terminal(bus, "endpoint", "purge", "work", types="n\n")
        require(status == 0 and "3 waiting" in said and "[y/N]" in said, said)
        require(bus.waiting("work") == 3, "no means no")
        status, said = at_a_terminal(bus, "get", "work", "--raw", types="y\n")
        require(status == 0 and said.endswith("one"), said)
        at_a_terminal(bus, "endpoint", "purge", "work", types="y\n")
        require(bus.waiting("work") == 0, "yes means yes")
        require("\033[" in at_a_terminal(bus, "endpoint", "ls")[1], "colours at a terminal")
        for quiet in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            said = at_a_terminal(bus, "endpoint", "ls", env=quiet)[1]
            require("\033[" not in said, said)
        require("\033[" in bus.good("--color", "always", "endpoint", "ls"), "always")
        require("\033[" not in bus.good("endpoint", "ls"), "no colours in a pipe")
        fail_some(bus, "job", ["ab"])
        failed = bus.json("failed", "ls")["rows"][0]["id"]
        status, said = at_a_terminal(bus, "failed", "edit", failed,
                                     env={"EDITOR": "sed -i s/6162/6364/"})
        require(status == 0, said)
        require(bus.json("failed", "show", failed[:30])["text"] == "cd", "edited")


def readme(stage):
    text = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- script -->\n```sh\n(.*?)```", text, re.S).group(1)
    with Bus(stage) as bus:
        bus.start()
        said = subprocess.run(["bash", "-ec", block + "wait\n"], capture_output=True, text=True,
                              timeout=LIMIT, env=dict(bus.environment, TZ="UTC",
                                                      PATH=f"{BUILD}/tools:{os.environ['PATH']}"))
        require(said.returncode == 0 and "UTC" in said.stdout.splitlines()[-1], said)


def manual_pages(stage):
    for page in ("shmbus.1", "shmbus.7", "shmbusd.8"):
        path = ROOT / "tools/man" / page
        said = subprocess.run(["man", "--warnings", "-Tutf8", "-l", str(path)],
                              capture_output=True, text=True, timeout=LIMIT)
        require(said.returncode == 0 and not said.stderr, f"{page}: {said.stderr}")


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
        bus.bad(75, "endpoint", "create", "odd", "--lane-bytes", "5000")
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


def sending(stage):
    with prepare(Bus(stage)) as bus:
        text = bus.bad(69, "send", "job", "--data", "x")
        require("[no_route]" in text and "--to" in text, text)
        bus.bad(66, "send", "job", "--to", "nowhere", "--data", "x")
        bus.bad(66, "send", "bogus", "--data", "x")
        bus.bad(64, "send", "news", "--data", "x")
        bus.bad(64, "publish", "job", "--data", "x")
        text = bus.bad(65, "send", "fixed", "--to", "work", "--data", "short")
        require("8 bytes" in text and "are 5" in text, text)
        bus.bad(65, "send", "job", "--to", "work", "--hex", "0g")
        bus.bad(65, "send", "job", "--to", "work", "--hex", "012")
        bus.bad(66, "send", "job", "--to", "work", "--file", str(bus.folder / "none"))
        bus.bad(64, "send", "job", "--to", "work", "--data", "x", "--hex", "00")
        bus.good("send", "job", "--to", "work", stdin="from stdin")
        bus.good("send", "fixed", "--to", "work", "--hex", "0001020304050607")
        require(bus.json("send", "job", "--to", "work", "--lines", stdin="one\ntwo\n")["messages"]
                == 2, "lines")
        begin = time.monotonic()
        bus.good("send", "job", "--to", "work", "--data", "n", "--count", "20", "--rate", "200")
        require(time.monotonic() - begin > 0.09, "it kept no pace")
        seen = bus.lines("peek", "work")
        require([one.get("text") for one in seen[:4]] == ["from stdin", seen[1].get("text"), "one",
                                                          "two"], seen[:4])
        require(seen[1]["hex"] == "0001020304050607" and len(seen) == 24, seen)
        require(bus.good("peek", "work", "-n", "1", "--raw") == "from stdin", "raw")
        require(bus.good("peek", "work", "-n", "1", "--hex") == b"from stdin".hex() + "\n", "hex")
        require(len(bus.lines("tail", "work", "-n", "3")) == 3, "tail -n")
        require(len(bus.lines("tail", "work", "-n", "99", "--type", "fixed")) == 1, "tail --type")
        bus.good("endpoint", "create", "tiny", "--lane-bytes", "4096")
        text = bus.bad(75, "send", "job", "--to", "tiny", "--data", "x" * 500, "--count", "100",
                       "--refuse")
        require("[full]" in text, text)


def fields(stage):
    example = BUILD / "tools/examples/example-hello"
    with Bus(stage, name="example-hello") as bus:
        bus.start()
        subprocess.run([example], env=bus.environment, check=True, timeout=LIMIT,
                       stdout=subprocess.DEVNULL)
        bus.good("send", "example.greet", "--fields", '{"times": 3}')
        bus.good("send", "example.greet", "--fields", "-", stdin='{"times": 4}')
        seen = bus.lines("peek", "greeter")
        require([one["fields"] for one in seen] == [{"times": 3}, {"times": 4}], seen)
        require("3" in bus.good("tail", "greeter"), "tail")
        for wrong in ('{"bogus": 1}', '{"times": "x"}', '{"times": -1}', "{"):
            bus.bad(65, "send", "example.greet", "--fields", wrong)
        bus.good("type", "add", "plain", "command")
        bus.bad(65, "send", "plain", "--to", "greeter", "--fields", "{}")


def taking(stage):
    with prepare(Bus(stage)) as bus:
        for text in ("a", "b", "c", "d"):
            bus.good("send", "job", "--to", "work", "--data", text)
        bus.bad(64, "get", "work")
        require(bus.waiting("work") == 4, "asked and taken all the same")
        taken = bus.good("get", "work", "--yes", "--raw")
        require(bus.waiting("work") == 3 and taken in "abcd", "get has taken one")
        left = "".join(sorted(set("abcd") - {taken}))
        require("".join(one["text"] for one in bus.lines("peek", "work")) == left, "the others")
        ids = [one["id"] for one in bus.lines("peek", "work")]
        bus.good("move", "work", "other", "--dry-run")
        require(bus.waiting("work") == 3, "a dry run has moved")
        bus.good("move", "work", "other", "--id", ids[1])
        require([one["id"] for one in bus.lines("peek", "other")] == [ids[1]], "ids are kept")
        left = left[0] + left[2]
        require("".join(sorted(one["text"] for one in bus.lines("peek", "work"))) == left,
                "the others stay")
        bus.good("copy", "work", "other")
        require(bus.waiting("other") == 3, "copied")
        copies = [one for one in bus.lines("peek", "other") if one["text"] in left]
        require(not {one["id"] for one in copies} & set(ids), "a copy has an id of its own")
        require(bus.row("work")["waiting"] + bus.row("work")["in_hand"] == 2, "still there")
        bus.good("move", "work", "other", "-n", "1")
        require(bus.waiting("other") == 4, "one more was moved")
        bus.bad(66, "move", "work", "other", "--id", "0" * 32)
        bus.bad(66, "move", "work", "nowhere")
        bus.bad(64, "move", "work", "work")
        bus.good("endpoint", "purge", "work", "--yes")
        bus.bad(66, "get", "work", "--yes")


def failure_is_no_death(stage):
    """Three deaths would make the next consumer give a message up; what fails here is none."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--data", "kept")
        for _ in range(4):
            bus.bad(74, "failed", "archive", "--endpoint", "work", "--all", "--file", "/dev/full")
        with open("/dev/full", "w", encoding="ascii") as full:
            for _ in range(4):
                said = subprocess.run([TOOL, "get", "work", "--yes"], env=bus.environment,
                                      stdout=full, stderr=subprocess.DEVNULL, timeout=LIMIT)
                require(said.returncode == 74, said)
        said = bus.good("serve", "work", "--type", "job", "--count", "1", "--command",
                        'cat; echo " $SHMBUS_MESSAGE_ATTEMPT"')
        require(said == "kept 1\n", f"text and attempt: {said}")


def output_that_fails(stage):
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--data", "kept")
        with open("/dev/full", "w", encoding="ascii") as full:
            said = subprocess.run([TOOL, "get", "work", "--yes"], env=bus.environment, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=LIMIT)
        require(said.returncode == 74 and "full" in said.stderr, said)
        row = bus.row("work")
        require(row["waiting"] + row["in_hand"] == 1, f"lost: {row}")
        reading, writing = os.pipe()
        os.close(reading)
        said = subprocess.run([TOOL, "endpoint", "ls"], env=bus.environment, stdout=writing,
                              stderr=subprocess.PIPE, text=True, timeout=LIMIT)
        os.close(writing)
        require(said.returncode == -signal.SIGPIPE and said.stderr == "", said)
        require(bus.good("get", "work", "--yes", "--raw") == "kept", "it is still there")


def durations(stage):
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "tiny", "--lane-bytes", "4096")
        for text, seconds in (("50ms", 0.05), ("0.05s", 0.05), ("0.05", 0.05), ("0.001m", 0.06),
                              ("0.00002h", 0.072)):
            begin = time.monotonic()
            said = bus.bad(75, "request", "job", "--to", "work", "--data", "x", "--timeout", text)
            require(time.monotonic() - begin >= seconds, f"{text} was over too soon")
            require("[timeout]" in said, said)
        bus.bad(75, "send", "job", "--to", "tiny", "--data", "x" * 500, "--count", "100",
                "--timeout", "20ms")
        for text in ("3 s", "3sec", "s", "-1s", "1d", "nan", "inf", "1e300h", "9000h", "", "0x10"):
            for words in (["send", "job", "--to", "work", "--data", "x", f"--timeout={text}"],
                          ["request", "job", "--data", "x", f"--timeout={text}"],
                          ["run", f"--idle-exit={text}"]):
                said = bus.bad(64, *words)
                require(f'"{text}"' in said and "500ms" in said if text else said, said)
        daemon = subprocess.run([DAEMON, "--idle-exit", "1w"], env=bus.environment, text=True,
                                capture_output=True, timeout=LIMIT)
        require(daemon.returncode != 0 and "500ms" in daemon.stderr, daemon)
    with Bus(stage) as bus:
        ended = bus.spawn("run", "--idle-exit", "100ms")
        require(ended.wait(LIMIT) == 0, "a daemon that leaves after a tenth of a second")


def serving_and_asking(stage):
    with prepare(Bus(stage)) as bus:
        bus.bad(69, "request", "job", "--data", "x")
        bus.bad(75, "request", "job", "--to", "work", "--data", "x", "--timeout", "0.05")
        bus.good("endpoint", "purge", "work", "--yes")
        bus.bad(66, "serve", "work", "--type", "bogus", "--command", "cat")
        bus.bad(64, "serve", "work", "--type", "job", "--reply", "job", "--command", "cat")
        server = bus.spawn("serve", "work", "--type", "job", "--reply", "job.answer",
                           "--count", "4", "--command", 'tr a-z A-Z; echo " $SHMBUS_MESSAGE_TYPE"')
        eventually(lambda: bus.json("type", "show", "job")["handled_by"] == "work", "announced")
        require(bus.good("request", "job", "--data", "hello") == "HELLO job\n", "answer")
        require(bus.good("request", "job", "--data", "hello", "--raw") == "HELLO job\n", "raw")
        answer = bus.json("request", "job", "--hex", "61")
        require(answer["type"] == "job.answer" and answer["text"] == "A job\n", answer)
        digits = bus.good("request", "job", "--data", "a", "--answer-hex")
        require(digits == b"A job\n".hex() + "\n", "hex")
        require(server.wait(LIMIT) == 0, "serve --count")


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


def move_that_is_killed(stage):
    count = 20000
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "from", "to", "--lane-bytes", "4194304")
        numbers = "".join(f"{number}\n" for number in range(count))
        bus.good("send", "job", "--to", "from", "--lines", stdin=numbers)
        kills, partly = 0, 0
        for attempt in range(60):
            child = bus.spawn("move", "from", "to")
            try:
                child.wait(0.006 + 0.001 * attempt)
                break
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                kills += 1
                partly += 0 < bus.waiting("to") < count
        eventually(lambda: bus.run("move", "from", "to").status == 0 and
                   bus.row("from")["waiting"] + bus.row("from")["in_hand"] == 0, "an empty one")
        if os.environ.get("SHMBUS_CHECK_TIMES"):
            print(f"    killed {kills} times, {partly} of them in the middle", file=sys.stderr)
        seen = {}
        for message in bus.lines("peek", "to"):
            seen.setdefault(message["text"], []).append(message)
        require(len(seen) == count, f"{count - len(seen)} lost after {kills} kills")
        for text, messages in seen.items():
            require(len({one["id"] for one in messages}) == 1, f"{text} has two ids")
            require(sum(not one["repeated"] for one in messages) <= 1, f"{text} is not marked")


def lines_of(child):
    """Lines of a child's output, each waited for with a limit."""
    lines = queue.Queue()

    def read():
        for line in child.stdout:
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()

    def following():
        while True:
            try:
                yield valid(json.loads(lines.get(timeout=LIMIT)))
            except queue.Empty:
                raise Failed("no line came")

    return following()


def following(stage):
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "stream", "--lane-bytes", "4096")
        bus.good("send", "job", "--to", "stream", "--data", "first")
        tail = bus.spawn("--json", "tail", "-f", "stream")
        lines = lines_of(tail)
        require(next(lines)["text"] == "first", "what was there")
        bus.good("send", "job", "--to", "stream", "--data", "second")
        require(next(lines)["text"] == "second", "what comes")
        require(bus.waiting("stream") == 2, "following takes nothing")
        # A lane of 4 KiB holds some sixty: what is written while the tail is stopped is gone.
        feeder = bus.spawn("send", "job", "--to", "stream", "--lines", "--timeout", "30",
                           stdin=subprocess.PIPE)
        feeder.stdin.write("".join(f"{number}\n" for number in range(200)))
        feeder.stdin.close()
        for number in range(50):
            require(next(lines)["text"] == str(number), f"number {number} in its turn")
        tail.send_signal(signal.SIGSTOP)
        left = 202 - 30
        while left > 0:
            left -= len(bus.run("get", "stream", "-n", str(left), "--yes", "--hex").out.split())
        require(feeder.wait(LIMIT) == 0 and bus.waiting("stream") == 30, "the last thirty are left")
        tail.send_signal(signal.SIGCONT)
        # Said where the gap is: each that is shown later has its number.
        passed, missed, after = 50, 0, 0
        while passed < 200:
            line = next(lines)
            if "text" in line:
                require(line["text"] == str(passed), f"{passed} expected, {line['text']} came")
            passed += line.get("missed", 1)
            missed += line.get("missed", 0)
            after += missed > 0
        require(missed > 0 and after > 30 and passed == 200, f"{missed} missed, {passed} in all")
        tail.send_signal(signal.SIGINT)
        require(tail.wait(LIMIT) == 0, "a tail ends well at SIGINT")


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


def durable_move(stage):
    with prepare(Bus(stage)) as bus:
        bus.good("send", "deed", "--to", "work", "--lines", stdin="a\nb\nc\n")
        ids = {one["id"]: one["text"] for one in bus.lines("peek", "work")}
        require(len(ids) == 3, ids)
        bus.good("move", "work", "other")
        eventually(lambda: bus.waiting("other") == 3, "moved")
        require({one["id"]: one["text"] for one in bus.lines("peek", "other")} == ids, "ids")
        eventually(lambda: bus.json("journal", "stat")["waiting"] == {"other": 3}, "settled")
        bus.good("move", "other", "work")
        eventually(lambda: bus.waiting("work") == 3, "and back, under the same ids")
        bus.good("copy", "work", "other")
        eventually(lambda: bus.waiting("other") == 3, "copied")


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
        inbox.write_bytes(whole)
        lane = next((bus.place / "lanes").iterdir())
        shutil.copy(lane, lane.parent / "00000000000000ff")
        said = bus.run("doctor")
        require("left over" in said.out and "none runs" in said.out, said)
        said = bus.run("doctor", "--fix", env={"SHMBUS_START_DAEMON": "1"})
        require("fixed: files" in said.out, said)
        eventually(lambda: not (lane.parent / "00000000000000ff").exists(), "a file that is gone")


def other_users(stage):
    if os.geteuid() != 0:
        raise unittest_skip("only root can be somebody else")
    with prepare(Bus(stage)) as bus:
        for folder in (stage, bus.folder, bus.folder / "buses"):
            os.chmod(folder, 0o755)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        text = bus.bad(77, "ls", **nobody)
        require("denied" in text or "another user" in text, text)
        bus.bad(77, "endpoint", "ls", **nobody)
        bus.bad(77, "peek", "work", **nobody)
        require(bus.run("check", **nobody).status == 3, "check")


def unittest_skip(reason):
    import unittest
    return unittest.SkipTest(reason)


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
            begin = time.monotonic()
            rows = bus.json("endpoint", "ls")["rows"]
            spent = time.monotonic() - begin
            require(len(rows) == count, len(rows))
            require(spent < 10, f"{spent} s to list them")
            require("many.00007" in bus.good("endpoint", "show", "many.00007"), "show")
            require('"many.00077"' in bus.bad(66, "endpoint", "show", "many.0077"), "nearest")
    finally:
        if has_room:
            shutil.rmtree(place)


CHECKS = [
    ("looking at no bus says so, and makes none", without_a_bus),
    ("words that are not understood end with 64", wrong_words),
    ("a command that is a program of its own is found in the PATH", plugins),
    ("every error code is explained", every_code_is_explained),
    ("every verb and every status stands in the manual page and in the completion",
     every_verb_is_documented),
    ("bash completes commands, options and names", completion_in_bash),
    ("manual pages are well formed", manual_pages),
    ("at a terminal it asks, has colours and opens an editor", terminals),
    ("the script in README.md runs as it stands there", readme),
    ("endpoints are made, shown, emptied and removed", endpoints),
    ("what only looks works when the daemon is dead, and on a copy", looking_needs_no_daemon),
    ("types are declared, subscriptions come and go, orphans are marked", types_and_subscriptions),
    ("a script sends, and what is wrong is refused with the reason", sending),
    ("messages are written and shown by their fields", fields),
    ("messages are taken, copied and moved, with their ids", taking),
    ("what could not be sent on or written is not counted as a death", failure_is_no_death),
    ("output that fails loses nothing and says so; a broken pipe is silent", output_that_fails),
    ("times are understood with their units, and nothing else is", durations),
    ("a script asks and a script answers", serving_and_asking),
    ("failed messages are listed, retried, edited and archived",
     lambda stage: failed_messages(stage, "job")),
    ("durable ones too, and one that fails again is there again",
     lambda stage: failed_messages(stage, "deed")),
    ("a move that is killed loses nothing; what is twice is marked", move_that_is_killed),
    ("following takes nothing and says how many it missed", following),
    ("durable messages are moved and copied by way of the journal", durable_move),
    ("a journal is measured, backed up while it is written, restored and compacted", journal),
    ("doctor and check tell what is wrong", health),
    ("another user is told that it may not", other_users),
    ("ten thousand endpoints are listed", many_endpoints),
]


def run_check(name, check, stage, lines):
    import unittest
    begin = time.monotonic()
    try:
        check(stage)
        lines.append(f"ok {name}")
    except unittest.SkipTest as reason:
        lines.append(f"skip {name}: {reason}")
    except FileNotFoundError as missing:
        lines.append(f"skip {name}: there is no {missing.filename}")
    except Exception as error:  # whatever it is, it is this check's
        text = "\n".join("    " + line for line in f"{type(error).__name__}: {error}".splitlines())
        lines.append(f"not ok {name}\n{text[:4000]}")
    if os.environ.get("SHMBUS_CHECK_TIMES"):
        lines.append(f"    {time.monotonic() - begin:.2f} s")


def main():
    wanted = os.environ.get("SHMBUS_CHECKS", "")
    stage = pathlib.Path(tempfile.mkdtemp(prefix="shmbus-cli-"))
    failed = False
    try:
        chosen = [one for one in CHECKS if wanted in one[0]]
        results = [[] for _ in chosen]
        waiting = list(range(len(chosen)))
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    if not waiting:
                        return
                    place = waiting.pop(0)
                run_check(*chosen[place], stage, results[place])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for lines in results:
            for line in lines:
                print(line)
                failed = failed or line.startswith("not ok")
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
