"""Messages that are taken, moved and copied.

SPDX-License-Identifier: BSL-1.0
"""
import os
import signal
import subprocess
import sys

from cli_checks.bus import Bus, prepare
from cli_checks.ground import LIMIT, TOOL, eventually, require


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


def large_messages(stage):
    """What a script could send can be copied, moved, archived, restored and retried."""
    with prepare(Bus(stage)) as bus:
        body = bus.folder / "body"
        body.write_bytes(bytes(range(256)) * 4096)  # 1 MiB, no text
        digits = body.read_bytes().hex()
        for name in ("job", "deed"):
            bus.good("send", name, "--to", "work", "--file", str(body))

        def is_whole(endpoint, count):
            eventually(lambda: bus.depth(endpoint) == count, lambda: bus.row(endpoint))
            require([one["hex"] == digits for one in bus.lines("peek", endpoint)] == [True] * count,
                    endpoint)
        bus.good("copy", "work", "other")
        is_whole("other", 2)
        bus.good("move", "other", "work")
        is_whole("work", 4)
        bus.good("move", "work", "other", "--type", "deed")
        is_whole("other", 2)
        bus.good("move", "work", "error")
        bus.good("move", "other", "error")
        archive = str(bus.folder / "archive")
        bus.good("failed", "archive", "--all", "--file", archive)
        bus.good("failed", "restore", "--all", "--file", archive)
        is_whole("error", 4)
        bus.good("failed", "retry", "--all", "--to", "work")
        is_whole("work", 4)
        got = subprocess.run([TOOL, "get", "work", "--yes", "--raw"], env=bus.environment,
                             capture_output=True, timeout=LIMIT)
        require(got.returncode == 0 and got.stdout == body.read_bytes(), got.stderr)


def large_on_disk(stage):
    """Those on disk may be longer than all that can be seen."""
    with prepare(Bus(stage)) as bus:
        for kibibytes, count in ((200, 12), (1000, 2), (2, 1)):
            body = bus.folder / f"{kibibytes}"
            body.write_bytes(b"x" * kibibytes * 1024)
            bus.good("send", "deed", "--to", "work", "--file", str(body), "--count", str(count))
        eventually(lambda: bus.depth("work") == 15, lambda: bus.row("work"))
        require(bus.row("work")["on_disk"] >= 3, bus.row("work"))
        require(max(one["bytes"] for one in bus.lines("peek", "work")) == 200 * 1024, "in the lane")
        require("moved 15 messages" in bus.good("move", "work", "other"), bus.row("work"))
        eventually(lambda: bus.depth("other") == 15, lambda: bus.row("other"))
        sizes = [bus.lines("get", "other", "--yes")[0]["bytes"] // 1024 for _ in range(15)]
        require(sizes == [200] * 12 + [1000] * 2 + [2], sizes)
        bus.good("send", "job", "--to", "work", "--file", str(bus.folder / "1000"), "--count", "3")
        require(bus.depth("work") == 3, "several large ones at once")


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


def taken_again(stage):
    """What a killed get may have printed comes again, and says so."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--data", "x" * 100_000, "--count", "2")
        # Nobody reads it: it has printed some of it, and waits.
        killed = bus.spawn("--json", "get", "work", "--yes", "-n", "2", stderr=subprocess.DEVNULL)
        eventually(lambda: killed.stdout.read(1) == "{", "a message that is printed")
        require(bus.row("work")["in_hand"] == 1, bus.row("work"))
        killed.kill()
        killed.wait(LIMIT)
        again, first = bus.lines("get", "work", "--yes", "-n", "2")
        require((again["redelivered"], first["redelivered"]) == (True, False), "marked")
        bus.good("send", "job", "--to", "work", "--data", "x" * 100_000)
        killed = bus.spawn("get", "work", "--yes", "--raw", stderr=subprocess.DEVNULL)
        eventually(lambda: killed.stdout.read(1) == "x", "its bytes")
        killed.kill()
        killed.wait(LIMIT)
        said = bus.run("get", "work", "--yes", "--raw")
        require(said.status == 0 and said.out == "x" * 100_000 and "comes again" in said.err,
                said.err)


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
        for words, status in ((["metrics"], 74), (["--help"], 74), (["--version"], 74),
                              (["endpoint", "ls", "--help"], 74), (["peek", "work"], 74),
                              (["--json", "ls"], 74), (["completion", "bash"], 74),
                              (["failed", "--endpoint", "work", "export", "--all", "--file", "-"],
                               74),
                              # Four statuses are all that a monitoring system knows.
                              (["check"], 3), (["check", "--help"], 3)):
            with open("/dev/full", "w", encoding="ascii") as full:
                said = subprocess.run([TOOL, *words], env=bus.environment, stdout=full,
                                      stderr=subprocess.PIPE, text=True, timeout=LIMIT)
            require(said.returncode == status and ("No space" in said.stderr or
                                                   "full" in said.stderr), (words, said))
        # Also while nothing comes that could be written.
        follower = bus.spawn("tail", "-f", "work")
        follower.stdout.readline()  # the heads of the columns
        require("kept" in follower.stdout.readline(), "tail shows what is there")
        follower.stdout.close()
        require(follower.wait(LIMIT) == -signal.SIGPIPE, "tail -f notices that its reader left")
        require(bus.good("get", "work", "--yes", "--raw") == "kept", "it is still there")


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


def move_behind_thousands(stage):
    """Past more that are not meant than a process has hands for; a second time as well, when the
    hands that the first one left are still filled."""
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "wanted", "command")
        bus.good("endpoint", "create", "first", "from", "to", "--lane-bytes", "4194304")
        others = [f"other {number}" for number in range(20000)]
        wanted = [f"wanted {number}" for number in range(50)]
        for name, texts in (("job", others), ("wanted", wanted)):
            bus.good("send", name, "--to", "first", "--lines", stdin="\n".join(texts) + "\n")
        # By way of one process, and so in one lane: lanes are taken in turn.
        bus.good("copy", "first", "from")
        require([one["text"] for one in bus.lines("peek", "from")] == others + wanted, "one lane")
        ids = {one["text"]: one["id"] for one in bus.lines("peek", "from")}
        ran = bus.run("move", "from", "to", "--id", ids[wanted[-1]])
        require(ran.status == 0 and "moved 1 " in ran.out and not ran.err, ran)
        ran = bus.run("move", "from", "to", "--type", "wanted")
        require(ran.status == 0 and f"moved {len(wanted) - 1} " in ran.out and not ran.err, ran)
        moved = bus.lines("peek", "to")
        require([one["text"] for one in moved] == wanted[-1:] + wanted[:-1], "in their order")
        left = bus.lines("peek", "from")
        require(sorted(one["text"] for one in left) == sorted(others), f"{len(left)} are left")
        require({one["text"]: one["id"] for one in left + moved} == ids, "ids are kept")


def move_behind_what_is_on_disk(stage):
    """What is passed over cannot be held: it would keep the room that the next needs."""
    count = 500
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "wanted", "command", "--durable")
        bus.good("endpoint", "create", "small", "--lane-bytes", "4096")
        numbers = "".join(f"{number}\n" for number in range(count))
        bus.good("send", "deed", "--to", "small", "--lines", stdin=numbers)
        bus.good("send", "wanted", "--to", "small", "--data", "the last one")
        ran = bus.run("move", "small", "other", "--type", "wanted")
        require(ran.status == 0 and "moved 1 " in ran.out and not ran.err, ran)
        eventually(lambda: bus.waiting("other") == 1, lambda: bus.row("other"))
        text = bus.good("move", "small", "work")
        require(f"moved {count} " in text, text)
        eventually(lambda: bus.row("work")["waiting"] == count, lambda: bus.row("work"))
        require([one["text"] for one in bus.lines("peek", "work")] == numbers.split(), "in order")


def backlog_is_moved_and_copied(stage):
    """What waits on disk is moved and told of; copy, which does not look there, says so."""
    count = 500
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "small", "--lane-bytes", "4096")
        bus.good("send", "deed", "--to", "small", "--data", "x" * 100, "--count", str(count))

        def row():
            return bus.row("small")
        eventually(lambda: row()["waiting"] + row()["on_disk"] == count, row)
        near, far = row()["waiting"], row()["on_disk"]
        require(near > 0 and far > count - 100, row())
        found = bus.lines("peek", "small")[0]["id"]
        for words, said in (([], f"move {count} messages from"),
                            (["-n", str(near + 7)], f"move {near + 7} messages from"),
                            (["--type", "deed"], f"move {near} messages, and those that are meant "
                                                 f"of {far} on disk from"),
                            (["--id", found], "move 1 messages from"),
                            (["--type", "deed", "-n", "2"], "move 2 messages from")):
            text = bus.good("move", "small", "other", "--dry-run", *words)
            require("would " + said in text, text)
        for words, copied in ((["--dry-run"], near), ([], near), (["--type", "job"], 0)):
            ran = bus.run("copy", "small", "other", *words)
            require(f"{copied} messages" in ran.out, ran.out)
            require(ran.status == 0 and f"{far} more wait on disk" in ran.err, ran.err)
        for words in (["-n", "2"], ["--id", found]):
            ran = bus.run("copy", "small", "other", *words)
            require(ran.status == 0 and "on disk" not in ran.err, ran.err)
        require("on disk" in bus.bad(66, "copy", "small", "other", "--id", "0" * 32), "an id")
        require(row()["waiting"] + row()["on_disk"] == count, row())
        text = bus.good("move", "small", "other")
        require(f"moved {count} messages" in text, text)
        ran = bus.run("copy", "small", "other")
        require(ran.status == 0 and "copied 0" in ran.out and not ran.err, ran)


def durable_move(stage):
    with prepare(Bus(stage)) as bus:
        bus.good("send", "deed", "--to", "work", "--lines", stdin="a\nb\nc\n")
        # They are on disk; into the lane the daemon brings them afterwards.
        eventually(lambda: len(bus.lines("peek", "work")) == 3, "delivered")
        ids = {one["id"]: one["text"] for one in bus.lines("peek", "work")}
        bus.good("move", "work", "other")
        eventually(lambda: bus.waiting("other") == 3, "moved")
        require({one["id"]: one["text"] for one in bus.lines("peek", "other")} == ids, "ids")
        eventually(lambda: bus.json("journal", "stat")["waiting"] == {"other": 3}, "settled")
        bus.good("move", "other", "work")
        eventually(lambda: bus.waiting("work") == 3, "and back, under the same ids")
        bus.good("copy", "work", "other")
        eventually(lambda: bus.waiting("other") == 3, "copied")
