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


def seen(screen, *lines):
    """The screen at a moment at which all these lines are on it. The traffic goes on until then: a
    half second in which the machine had no time for it shows an endpoint that is in use as idle."""
    before = ""

    def at_once():
        nonlocal before
        # Twice the same: the terminal may be seen in the middle of being drawn.
        before, text = screen.text(), before
        is_there = all(re.search(line, text, re.MULTILINE) for line in lines)
        return text if text == before and is_there else None
    try:
        return wait_for(f"on the screen: {lines}", at_once)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{screen.text()}") from None


def shots(stage):
    """What is shown: a heading, and the screen."""
    screen = stage.screen(96, 24, " ".join(stage.top_words("-d", "0.5")))
    # Until something is known of every rate and every time there is.
    yield "The endpoints of a bus, those in trouble first:", seen(
        screen, r"^Messages in \S+/s .* Journal \S+/s ", "^P shipping ", "^F error ",
        "^R billing ", "^I books ", r"^I shmbus\.journal ",
        r"^R sales .* \S+s\*? +\S+s\*? +\S+s\*? ", "q$")
    screen.press("/", "s", "h", "i", "p", "Enter", "b")
    yield "`b`: who blocks this queue?", seen(screen, "STOPPED", "^nobody waits for room")
    screen.press("1", "/", "s", "a", "l", "e", "s", "Enter", "Enter")
    yield "`Enter` opens an endpoint:", seen(
        screen, "^R sales ", "^processing time of the last interval", "^Enter draw this lane")
    screen.press("1", "/", "e", "r", "r", "Enter", "m")
    yield "`m`: the messages that stand in it, here those that failed:", seen(
        screen, "^handler_threw", "^number=1 how=1", "^Esc back")


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
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"\b[0-9a-f]{16}\b", "LANE", text)
    # What a table's columns are filled up with.
    text = re.sub(r"[▁▂▃▄▅▆▇█▏▎▍▌▋▊▉·]+", "", text)
    text = re.sub(r">?\b\d+(\.\d+)?(ns|us|ms|s|k|[KMGT]|m\d\ds|h\d\dm|d)?\b(/s)?", "N", text)
    # Whether a time is of the last interval or of all time is the last interval's chance.
    text = re.sub(r"\bN\*|\bN ever$", "N", text, flags=re.MULTILINE)
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
