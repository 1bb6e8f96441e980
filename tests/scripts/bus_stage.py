"""A bus with known traffic for scripted checks: a daemon, processes that obey, terminals in tmux.

Used by top.py and by those that make the captures in README.md.

SPDX-License-Identifier: BSL-1.0
"""
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(os.environ.get("SHMBUS_SOURCE_ROOT",
                                   pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("SHMBUS_BUILD_ROOT", ROOT / "build"))
DAEMON = BUILD / "tools/shmbusd"
TOP = BUILD / "tools/top/shm-top"
TRAFFIC = BUILD / "tests/top/top_traffic"
# Reaching it is a failure, so it may be long.
LIMIT_S = 60.0


def wait_for(what, is_so, limit_s=LIMIT_S):
    """Looks until it is so; returns what it saw then."""
    end = time.monotonic() + limit_s
    while True:
        seen = is_so()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit_s} s in vain: {what}")
        time.sleep(0.02)


class Actor:
    """A process on the bus that obeys, one line of answer to each line it is told."""

    def __init__(self, bus, name):
        self.name = name
        self.process = subprocess.Popen([TRAFFIC, bus, name], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pid = self.process.pid
        self.hears("ready")

    def say(self, line, expected=None):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hears(expected)

    def hears(self, expected=None):
        if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            raise AssertionError(f"{self.name} does not answer")
        said = self.process.stdout.readline().strip()
        if expected is not None and said != expected:
            raise AssertionError(f"{self.name} said '{said}' and not '{expected}'")
        return said

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Stage:
    """A bus in a directory of its own, its daemon, and all that runs on it; ends with `with`."""

    def __init__(self, name="shop"):
        # In memory where there is some, else where temporary files are.
        base = os.environ.get("SHMBUS_TEST_MEMORY", "/dev/shm")
        base = base if os.access(base, os.W_OK) else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="shmbus-top-", dir=base))
        self.bus = self.folder / name
        self.journal = self.folder / "journal"
        self.actors = []
        self.screens = []
        # Three of the usual segments are more memory than there may be.
        config = self.folder / "shmbus.toml"
        config.write_text("journal_segment_bytes = 1048576\n")
        self.daemon = subprocess.Popen(
            [DAEMON, "--dir", self.bus, "--journal", self.journal, "--config", config,
             "--foreground"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("the daemon", lambda: (self.bus / "control.sock").exists())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for screen in self.screens:
            screen.close()
        self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def actor(self, name):
        self.actors.append(Actor(self.bus, name))
        return self.actors[-1]

    def kill_all(self):
        # The daemon first, or it would clear away after the others.
        self.daemon.kill()
        self.daemon.wait()
        for actor in self.actors:
            actor.kill()
        self.actors = []

    def top_words(self, *words):
        return [str(TOP), "--dir", str(self.bus), "--journal", str(self.journal), *words]

    def top(self, *words, **options):
        return subprocess.run(self.top_words(*words), capture_output=True, text=True,
                              timeout=LIMIT_S, check=False, **options)

    def screen(self, columns, rows, command, environment=None):
        self.screens.append(Terminal(self.folder, len(self.screens), columns, rows, command,
                                     environment))
        return self.screens[-1]


class Terminal:
    """A terminal of its own: a tmux server with one window, which nothing of the user reaches."""

    def __init__(self, folder, number, columns, rows, command, environment):
        self.socket = str(folder / f"tmux-{number}")
        own = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        own.update(environment or {})
        # The server itself speaks UTF-8 whatever the program in it is told.
        settings = [word for name, value in own.items() for word in ("-e", f"{name}={value}")]
        self.run("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows),
                 *settings, "cat")
        # The window is to stay when its program has ended, and to be as large as it is told.
        self.run("set-option", "-g", "remain-on-exit", "on")
        self.run("set-option", "-g", "window-size", "manual")
        self.run("set-option", "-g", "status", "off")
        self.run("resize-window", "-x", str(columns), "-y", str(rows))
        # In a directory of its own: a shell that gets keys meant for another may write there.
        self.run("respawn-window", "-k", "-c", str(folder), *settings, command)

    def run(self, *words):
        made = subprocess.run(["tmux", "-u", "-S", self.socket, *words], capture_output=True,
                              text=True, timeout=LIMIT_S, check=False,
                              env={**os.environ, "LC_ALL": "C.UTF-8"})
        if made.returncode != 0:
            raise AssertionError(f"tmux {' '.join(words)}: {made.stderr}")
        return made.stdout

    def press(self, *keys):
        self.run("send-keys", *keys)

    def text(self, *more):
        return self.run("capture-pane", "-p", *more)

    def waits_for(self, *parts, limit_s=LIMIT_S):
        """The text, once all these parts are in it."""
        seen = ""

        def is_there():
            nonlocal seen
            seen = self.text()
            return all(part in seen for part in parts)
        try:
            wait_for(f"on the screen: {parts}", is_there, limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{seen}") from None
        return seen

    def fact(self, name):
        return self.run("display-message", "-p", "#{" + name + "}").strip()

    def pid_of(self, name):
        """Of the program of this name in the terminal, however many shells lie between."""
        pids = [self.fact("pane_pid")]
        for pid in pids:
            if pathlib.Path("/proc", pid, "comm").read_text().strip() == name:
                return int(pid)
            pids += subprocess.run(["pgrep", "-P", pid], check=False, capture_output=True,
                                   text=True).stdout.split()
        raise AssertionError(f"no {name} runs in the terminal")

    def close(self):
        try:
            self.run("kill-server")
        except (AssertionError, subprocess.TimeoutExpired):
            pass


class Checks:
    """One line per check, as tools/test reads them."""

    def __init__(self):
        self.failed = 0

    def check(self, name, function):
        try:
            function()
        except Exception as error:  # whatever it is, it is this check that failed
            self.failed += 1
            print(f"not ok {name}")
            for line in f"{type(error).__name__}: {error}".splitlines():
                print(f"    {line}")
            return
        print(f"ok {name}", flush=True)

    @staticmethod
    def skip(name, why):
        print(f"skip {name}: {why}")

    def finish(self):
        sys.exit(1 if self.failed else 0)


def equal(seen, wanted, what=""):
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r} is not {wanted!r}")


