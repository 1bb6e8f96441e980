"""Messages that are watched while they come, without taking them.

SPDX-License-Identifier: BSL-1.0
"""
import json
import queue
import signal
import subprocess
import threading

from cli_checks.bus import Bus, prepare
from cli_checks.ground import LIMIT, Failed, require, valid


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


def followed_to_the_end(stage):
    """Who follows what is removed is told so, and does not wait for what comes to its successor."""
    def follow(bus):
        bus.good("send", "job", "--to", "stream", "--data", "first")
        tail = bus.spawn("--json", "tail", "-f", "stream")
        require(next(lines_of(tail))["text"] == "first", "it follows")
        bus.good("get", "stream", "--yes")
        return tail

    def ends(tail, status, words):
        found = tail.wait(LIMIT)
        text = tail.stderr.read()
        require(found == status and words in text, f"{found}: {text}")

    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "stream")
        tail = follow(bus)
        bus.good("endpoint", "rm", "stream")
        bus.good("endpoint", "create", "stream")
        ends(tail, 66, "stream was removed")
    with Bus(stage) as bus:
        bus.start(("--idle-exit", "1"))
        bus.good("type", "add", "job", "command")
        bus.good("endpoint", "create", "stream")
        ends(follow(bus), 69, "was removed while")
