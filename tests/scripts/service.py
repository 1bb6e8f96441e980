#!/usr/bin/env python3
"""The daemon as a service: what it tells a service manager, and the unit files.

A socket of this script plays systemd's; systemd-analyze checks the units where it is there.

SPDX-License-Identifier: BSL-1.0
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("SHMBUS_BUILD_ROOT", "build"))
DAEMON = BUILD / "tools" / "shmbusd"
failed = 0


def check(what, holds, said=""):
    global failed
    print(("ok " if holds else "not ok ") + what)
    if not holds:
        failed += 1
        print(said)


class Manager:
    """A notify socket, and the daemon that speaks to it."""

    def __init__(self, folder, name, watchdog_us=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.heard = []
        environment = dict(os.environ, NOTIFY_SOCKET=name)
        if watchdog_us:
            environment["WATCHDOG_USEC"] = str(watchdog_us)
        self.daemon = subprocess.Popen([DAEMON, "--dir", f"{folder}/bus"], env=environment,
                                       stderr=subprocess.DEVNULL)

    def hear(self, word, seconds=10.0):
        """Waits for a message with this word in it; the message, or None."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                text = self.socket.recv(4096).decode()
            except TimeoutError:
                return None
            self.heard.append(text)
            if word in text.splitlines() or any(line.startswith(word) for line in text.splitlines()):
                return text
        return None

    def drain(self):
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(4096)
        except BlockingIOError:
            pass
        self.socket.setblocking(True)

    def end(self, number=signal.SIGTERM):
        self.daemon.send_signal(number)


def notifies(name, folder):
    manager = Manager(folder, name, 400_000)
    try:
        text = manager.hear("READY=1") or ""
        check(f"the daemon says that it is ready, and where it serves ({name[0]} socket)",
              f"STATUS=serving the bus in {folder}/bus" in text
              and f"MAINPID={manager.daemon.pid}" in text, manager.heard)
        listens = pathlib.Path(folder, "bus", "control.sock").is_socket()
        check("it is ready when it says so", listens)
        lives = all(manager.hear("WATCHDOG=1") for _ in range(3))
        check("it says again and again that it lives", lives, manager.heard)
        manager.end(signal.SIGSTOP)
        os.waitpid(manager.daemon.pid, os.WUNTRACED)
        manager.drain()
        check("a stopped one does not", manager.hear("WATCHDOG=1", 1.0) is None, manager.heard)
        manager.end(signal.SIGCONT)
        check("and one that goes on does", manager.hear("WATCHDOG=1") is not None)
        manager.end()
        check("it says that it is stopping", manager.hear("STOPPING=1") is not None)
        check("it ends well", manager.daemon.wait(10) == 0)
    finally:
        manager.daemon.kill()


def is_quiet_without_a_watchdog(folder):
    manager = Manager(folder, f"{folder}/quiet")
    try:
        check("without a watchdog it says only that it is ready", manager.hear("READY=1") is not None)
        check("and no sign of life is sent", manager.hear("WATCHDOG=1", 0.7) is None)
    finally:
        manager.end()
        manager.daemon.wait(10)


def units():
    for unit in ("shmbusd@.service", "shmbusd-user@.service"):
        built = BUILD / "tools" / "systemd" / unit
        text = built.read_text()
        check(f"{unit} starts an absolute program", "ExecStart=/" in text and "@" not in
              text.split("ExecStart=")[1].split()[0])
        if not shutil.which("systemd-analyze"):
            print(f"skip {unit} is not verified: systemd-analyze is missing (package systemd)")
            continue
        with tempfile.TemporaryDirectory() as folder:
            program = text.split("ExecStart=")[1].split()[0]
            # The program is not installed here: any that is there stands for it.
            copy = pathlib.Path(folder, unit.replace("@.", "@verified."))
            copy.write_text(text.replace(program, shutil.which("true")))
            ran = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)],
                                 capture_output=True, text=True)
            said = [line for line in (ran.stdout + ran.stderr).splitlines() if unit[:8] in line]
            check(f"systemd-analyze finds nothing wrong in {unit}",
                  ran.returncode == 0 and not said, ran.stdout + ran.stderr)


with tempfile.TemporaryDirectory() as top:
    for index, kind in enumerate(("/", "@")):
        folder = os.path.join(top, str(index))
        os.mkdir(folder)
        notifies(f"{folder}/notify" if kind == "/" else f"@shmbus-test-{os.getpid()}", folder)
    is_quiet_without_a_watchdog(top)
units()
sys.exit(1 if failed else 0)
