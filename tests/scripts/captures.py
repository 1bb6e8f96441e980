#!/usr/bin/env python3
"""The screens in README.md are those of shm-top on a real bus: made here, and compared here.

    captures.py           compares: every figure may differ, nothing else
    captures.py --write   makes them anew

SPDX-License-Identifier: BSL-1.0
"""
import os
import re
import shutil
import signal
import sys

# Nothing is written beside the sources.
sys.dont_write_bytecode = True

from bus_stage import ROOT, TOP, TRAFFIC, Checks, Stage, wait_for

README = ROOT / "README.md"
BEGIN, END = "<!-- screens -->", "<!-- /screens -->"


def make_traffic(stage):
    """A shop at work: shipping is stopped by somebody, one order failed."""
    sales = stage.actor("sales")
    sales.say("open sales", "opened")
    sales.say("open books", "opened")
    for name in ("billing", "shipping"):
        other = stage.actor(name)
        other.say(f"open {name}", "opened")
        other.say(f"run {name} 20")
    os.kill(stage.actors[2].pid, signal.SIGSTOP)
    web = stage.actor("web")
    web.say("fail 1", "sent 1")
    web.say("durable 20", "sent 20")
    sales.say("handle books 20", "handled 20")
    sales.say("run sales 40")
    web.say("flow 1000", "flows")


def shots(stage):
    """What is shown: a heading, and the screen."""
    screen = stage.screen(96, 24, " ".join(stage.top_words("-d", "0.5")))
    screen.waits_for("P shipping", "R sales", "R billing", "F error", "CRIT")
    # Until something is known of every time there is.
    wait_for("times of sales", lambda: re.search(
        r"^R sales .*?s +\S+s +\S+s +", screen.text(), re.MULTILINE))
    yield "The endpoints of a bus, those in trouble first:", screen.text()
    screen.press("/", "s", "h", "i", "p", "Enter", "b")
    screen.waits_for("STOPPED")
    yield "`b`: who blocks this queue?", screen.text()
    screen.press("1", "/", "s", "a", "l", "e", "s", "Enter", "Enter")
    screen.waits_for("processing time")
    yield "`Enter` opens an endpoint:", screen.text()
    screen.press("1", "/", "e", "r", "r", "Enter", "m")
    screen.waits_for("handler_threw")
    yield "`m`: the messages that stand in it, here those that failed:", screen.text()


def captured():
    with Stage() as stage:
        make_traffic(stage)
        text = ""
        for heading, shot in shots(stage):
            lines = [line.rstrip() for line in shot.replace(str(stage.folder), "").splitlines()]
            # Empty lines in the middle say nothing in a document.
            body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines).strip("\n"))
            text += f"\n{heading}\n\n```text\n{body}\n```\n"
        return text


def shape_of(text):
    """The text without what may differ from one run to the next: figures, bars, histograms."""
    text = re.sub(r"\b[0-9a-f]{16}\b", "LANE", text)
    # What a table's columns are filled up with.
    text = re.sub(r"[▁▂▃▄▅▆▇█▏▎▍▌▋▊▉·]+", "", text)
    text = re.sub(r">?\b\d+(\.\d+)?(ns|us|ms|s|k|[KMGT]|m\d\ds|h\d\dm|d)?\b(/s)?", "N", text)
    text = re.sub(r"(?<= )-(?= |$)", "N", text, flags=re.MULTILINE)
    text = re.sub(r"^in hands .*", "in hands", text, flags=re.MULTILINE)
    text = re.sub(r" (alive|sleeps) ", " alive ", text)
    text = re.sub(r"[ \t]+", " ", text)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not re.fullmatch(r"N N", line)]
    # A sender may have more lanes than another time.
    return [line for at, line in enumerate(lines) if at == 0 or line != lines[at - 1]]


def main():
    checks = Checks()
    name = "the screens in README.md are those that shm-top shows"
    if not (TOP.exists() and TRAFFIC.exists() and shutil.which("tmux")):
        checks.skip(name, "there is no shm-top, or no tmux")
        return
    text = README.read_text()
    before, rest = text.split(BEGIN)
    shown, after = rest.split(END)
    made = captured()
    if "--write" in sys.argv:
        README.write_text(before + BEGIN + "\n" + made + "\n" + END + after)
        return

    def compare():
        for wanted, seen in zip(shape_of(shown), shape_of(made), strict=True):
            assert wanted == seen, f"README has\n{wanted}\nshm-top has\n{seen}"
    checks.check(name, compare)
    checks.finish()


if __name__ == "__main__":
    main()
