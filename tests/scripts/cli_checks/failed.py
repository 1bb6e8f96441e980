"""Messages that failed.

SPDX-License-Identifier: BSL-1.0
"""
import json
import os
import shutil
import signal
import subprocess
import time

from cli_checks.bus import Bus, fail_some, prepare
from cli_checks.ground import LIMIT, eventually, require, valid


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
        several = os.path.commonprefix(list(by_text.values()))
        text = bus.bad(64, "failed", "retry", several)
        require("5 messages have ids that begin with" in text and bus.depth("error") == 5, text)
        # It fails once more, under its id, and is there once more.
        bus.good("failed", "retry", by_text["c"])
        eventually(lambda: len(bus.json("failed", "ls")["rows"]) == 5, "the one that failed again")
        require(by_text["c"] in {row["id"] for row in bus.json("failed", "ls")["rows"]}, "its id")
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
        begin = time.monotonic()
        bus.good("failed", "retry", "--type", type_name, "--rate", "10")
        require(time.monotonic() - begin > 0.19, "three of them keep the pace of ten a second")
        eventually(lambda: bus.row("work")["in_hand"] + bus.waiting("work") == 0, "all handled")
        require(bus.json("failed", "ls")["rows"] == [], bus.json("failed", "ls"))
        server.terminate()
        server.wait(LIMIT)


def failed_twice(stage, type_name):
    """What the error endpoint's own handler fails on is set aside, and finds back from there."""
    with prepare(Bus(stage)) as bus:
        server = fail_some(bus, type_name, ["a"])
        [row] = bus.json("failed", "ls")["rows"]
        repair = bus.spawn("serve", "error", "--type", type_name, "--quiet", "--command", "false",
                           stderr=subprocess.DEVNULL)
        eventually(lambda: bus.row("error.unhandled") is not None and
                   bus.depth("error.unhandled") == 1 and bus.depth("error") == 0,
                   lambda: bus.row("error"))
        ran = bus.run("failed", "ls")
        require("1 failed in error as well: shmbus failed ls --endpoint error.unhandled"
                in ran.err, ran.err)
        there = bus.json("failed", "ls", "--endpoint", "error.unhandled")["rows"]
        require(there == [row], there)
        (bus.folder / "handle.fails").unlink()
        bus.good("failed", "--endpoint", "error.unhandled", "retry", "--all")
        eventually(lambda: bus.row("work")["in_hand"] + bus.waiting("work") == 0, "handled")
        require(bus.depth("error.unhandled") == 0 and bus.depth("error") == 0, bus.row("error"))
        require("as well" not in bus.run("failed", "ls").err, "nothing is there any more")
        for process in (server, repair):
            process.terminate()
            process.wait(LIMIT)


def failed_without_a_way_back(stage):
    """One whose endpoint is gone stays, and holds up no other."""
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "fact", "event")
        bus.good("endpoint", "create", "gone")
        for endpoint in ("gone", "work"):
            bus.good("sub", "add", endpoint, "fact")
            server = bus.spawn("serve", endpoint, "--type", "fact", "--attempts", "1", "--quiet",
                               "--command", "false", stderr=subprocess.DEVNULL)
            eventually(lambda: bus.is_served(endpoint), "a subscriber")
            bus.good("publish", "fact", "--data", f"for {endpoint}")
            eventually(lambda: bus.depth(endpoint) == 0 and bus.depth("error") > 0,
                       lambda: bus.row(endpoint))
            server.terminate()
            server.wait(LIMIT)
            if endpoint == "gone":
                bus.good("sub", "rm", "gone", "fact")
                bus.good("endpoint", "rm", "gone")
        require(bus.depth("error") == 2, bus.row("error"))
        text = bus.bad(69, "failed", "retry", "--all")
        require("the endpoint where 1 more failed is gone" in text, text)
        require(bus.depth("error") == 1 and bus.depth("work") == 1, bus.row("error"))
        [row] = bus.json("failed", "ls")["rows"]
        require("is gone" in bus.bad(69, "failed", "retry", row["id"]), "by its id")
        bus.good("failed", "retry", "--all", "--to", "work")
        require(bus.depth("error") == 0, bus.row("error"))


def failed_large(stage):
    """As long as whatever could be sent, also behind short ones that failed before."""
    with prepare(Bus(stage)) as bus:
        server = bus.spawn("serve", "work", "--type", "job", "--type", "deed", "--attempts", "1",
                           "--quiet", "--command", "false", stderr=subprocess.DEVNULL)
        eventually(lambda: bus.is_served("work"), "a server")
        sizes = [5, 500 * 1024, 5, 1024 * 1024]
        for type_name in ("job", "deed"):
            for size in sizes:
                body = bus.folder / f"{size}"
                body.write_bytes(b"x" * size)
                bus.good("send", type_name, "--to", "work", "--file", str(body))
        eventually(lambda: bus.depth("error") == 8 and bus.depth("work") == 0,
                   lambda: (bus.row("error"), bus.row("work")))
        seen = [(row["type"], row["bytes"]) for row in bus.json("failed", "ls")["rows"]]
        wanted = [(name, size) for name in ("job", "deed") for size in sizes]
        require(sorted(seen) == sorted(wanted), seen)
        server.terminate()
        server.wait(LIMIT)


def failed_event(stage):
    """It goes back to the one subscriber that failed at it, and to no other."""
    with prepare(Bus(stage)) as bus:
        for endpoint in ("work", "other"):
            bus.good("sub", "add", endpoint, "news")
        server = bus.spawn("serve", "work", "--type", "news", "--attempts", "1", "--quiet",
                           "--command", "false", stderr=subprocess.DEVNULL)
        eventually(lambda: bus.is_served("work"), "a subscriber")
        bus.good("publish", "news", "--data", "x")
        eventually(lambda: bus.depth("error") == 1, lambda: bus.row("error"))
        server.terminate()
        server.wait(LIMIT)
        # From one endpoint of failed ones to another it stays one that failed.
        bus.good("endpoint", "create", "aside", "--error")
        bus.good("move", "error", "aside")
        row = bus.json("failed", "--endpoint", "aside", "ls")["rows"][0]
        require((row["failed_at"], row["reason"]) == ("work", "handler_threw"), row)
        bus.good("failed", "--endpoint", "aside", "retry", "--all")
        eventually(lambda: bus.depth("work") == 1, lambda: bus.row("work"))
        require(bus.depth("other") == 1 and bus.depth("error") == 0, bus.row("other"))


def failed_at_one_that_is_gone(stage):
    """Another endpoint that has its number now is not where it failed."""
    with prepare(Bus(stage)) as bus:
        fail_some(bus, "job", ["a"]).terminate()
        number = bus.json("endpoint", "create", "work")["rows"][0]["number"]
        eventually(lambda: bus.run("endpoint", "rm", "work").status == 0, "it is not used any more")
        made = bus.json("endpoint", "create", "stranger")["rows"][0]
        require(made["number"] == number, made)
        require(bus.json("failed", "ls")["rows"][0]["failed_at"] != "stranger", "where it failed")
        bus.bad(69, "failed", "retry", "--all")
        require(bus.depth("stranger") == 0 and bus.depth("error") == 1, bus.row("stranger"))
        # Who handles it now gets it.
        bus.good("endpoint", "create", "successor", "--handles", "job")
        bus.good("failed", "retry", "--all")
        eventually(lambda: bus.depth("successor") == 1, lambda: bus.row("successor"))


def nothing_failed_yet(stage):
    """Nobody has opened an error endpoint: that is no error, but another name is misspelt."""
    with Bus(stage).start() as bus:
        require(bus.good("failed", "ls").split()[0] == "id", bus.good("failed", "ls"))
        require(bus.json("failed", "ls")["rows"] == [], "rows")
        require(bus.good("--format", "csv", "failed", "ls").count("\n") == 1, "a head alone")
        require(bus.json("failed", "ls", "--group-by", "reason")["rows"] == [], "groups")
        archive = bus.folder / "archive"
        for verb, more in (("retry", ()), ("archive", ("--file", str(archive))),
                           ("export", ("--file", str(archive)))):
            require(" 0 messages" in bus.good("failed", verb, "--all", *more), verb)
            require(bus.json("failed", verb, "--all", *more)["messages"] == 0, verb)
            require(" 0 messages" in bus.good("failed", verb, "--all", "--dry-run", *more), verb)
            bus.bad(66, "failed", verb, "--type", "bogus", *more)
            bus.bad(66, "failed", "--endpoint", "eror", verb, "--all", *more)
        require(archive.read_text() == "", "an archive of nothing")
        bus.bad(66, "failed", "retry", "--all", "--to", "nowhere")
        for words in (("retry", "f" * 32), ("show", "f" * 32), ("edit", "f" * 32, "--data", "x"),
                      ("retry", "--reason", "process_died")):
            require("[no_message]" in bus.bad(66, "failed", *words), words)
        bus.bad(66, "failed", "--endpoint", "eror", "ls")
        require(bus.json("endpoint", "ls")["rows"] == [], "none was made")


def edited(stage, type_name):
    """An edited copy takes the place of the original, with an id of its own that leads back."""
    with prepare(Bus(stage)) as bus:
        fail_some(bus, type_name, ["first", "other"]).terminate()
        archive = bus.folder / "archive"
        old = next(row["id"] for row in bus.json("failed", "ls")["rows"]
                   if bus.json("failed", "show", row["id"])["text"] == "first")
        # When the original cannot be kept, nothing is done.
        bus.bad(74, "failed", "edit", old, "--data", "second", "--archive", "/dev/full")
        require(bus.depth("error") == 2, bus.row("error"))
        done = bus.json("failed", "edit", old, "--data", "second", "--archive", str(archive))
        new = done["edited_as"]
        require(done["id"] == old and new != old, done)
        copy = bus.json("failed", "show", new)
        require(copy["text"] == "second" and copy["failure"]["endpoint"] == "work", copy)
        require(copy["lineage"] == {"related_to": old, "conversation": old, "correlation": old},
                copy)
        ids = {row["id"] for row in bus.json("failed", "ls")["rows"]}
        require(old not in ids and new in ids and len(ids) == 2, f"not both are sent: {ids}")
        # A second edit is no repetition of the first one, and keeps the conversation.
        again = bus.json("failed", "edit", new, "--data", "third")["edited_as"]
        third = bus.json("failed", "show", again)
        require(third["text"] == "third" and third["lineage"] == {
            "related_to": new, "conversation": old, "correlation": new}, third)
        bus.bad(66, "failed", "edit", old, "--data", "x")
        # The original is kept, as resolved: it comes back only when it is asked for.
        row = bus.json("failed", "ls", "--file", str(archive))["rows"][0]
        require(row["id"] == old and row["state"] == "edited", row)
        require("0 messages" in bus.good("failed", "restore", "--all", "--file", str(archive)), 0)
        bus.good("failed", "restore", old, "--file", str(archive))
        eventually(lambda: bus.depth("error") == 3, lambda: bus.row("error"))
        require(bus.json("failed", "show", old)["text"] == "first", "the original")
        # Other bytes for the same original are another copy.
        require(bus.json("failed", "edit", old, "--data", "fourth")["edited_as"] != new, "its id")
        bus.good("failed", "retry", again, "--to", "other")
        eventually(lambda: bus.waiting("other") == 1, lambda: bus.row("other"))
        sent = bus.lines("peek", "other")[0]
        require(sent["id"] == again and sent["lineage"]["related_to"] == new, sent)


def archived(stage, type_name):
    """Out of the endpoint, looked at in the file, and back: to the endpoint or to another."""
    with prepare(Bus(stage)) as bus:
        texts = ["a", "b", "c", "d"]
        fail_some(bus, type_name, texts).terminate()
        archive, copy = str(bus.folder / "archive"), str(bus.folder / "copy")
        before = bus.json("failed", "ls")["rows"]
        ids = {bus.json("failed", "show", row["id"])["text"]: row["id"] for row in before}
        for verb in ("archive", "export"):
            said = bus.good("failed", verb, "--all", "--file", archive, "--dry-run")
            require(f"would {verb} 4 messages" in said, said)
            require(bus.depth("error") == 4 and not (bus.folder / "archive").exists(), verb)
        require("4 messages" in bus.good("failed", "export", "--all", "--file", copy), "exported")
        require(len(bus.json("failed", "ls")["rows"]) == 4, "exported ones stay")
        bus.good("failed", "archive", "--all", "--file", archive)
        require(bus.json("failed", "ls")["rows"] == [], "archived ones do not")
        rows = bus.json("failed", "ls", "--file", archive)["rows"]
        require([dict(row, state="waiting") for row in rows] == before, rows)
        require(bus.json("failed", "ls", "--file", archive, "--group-by", "endpoint")["rows"] ==
                [{"endpoint": "work", "messages": 4}], "groups of an archive")
        require(bus.json("failed", "show", ids["c"], "--file", archive)["text"] == "c", "show")
        bus.bad(64, "failed", "restore", "--file", archive)
        bus.bad(66, "failed", "restore", "f" * 32, "--file", archive)
        bus.bad(66, "failed", "restore", "--all", "--file", archive + ".none")
        require("1 messages" in bus.good("failed", "restore", ids["b"], "--file", archive,
                                         "--dry-run"), "dry run")
        require(len(bus.json("failed", "ls", "--file", archive)["rows"]) == 4, "a dry run")
        bus.good("failed", "restore", ids["b"], "--file", archive)
        eventually(lambda: bus.waiting("error") == 1, lambda: bus.row("error"))
        back = bus.json("failed", "show", ids["b"])
        require(back["text"] == "b" and back["failure"]["endpoint"] == "work" and
                not back["repeated"], back)
        bus.bad(66, "failed", "restore", ids["b"], "--file", archive)
        bus.good("failed", "restore", "--all", "--file", archive, "--to", "other")
        eventually(lambda: bus.waiting("other") == 3, lambda: bus.row("other"))
        sent = bus.lines("peek", "other")
        require(sorted(one["text"] for one in sent) == ["a", "c", "d"], sent)
        require({one["id"] for one in sent} == {ids[text] for text in "acd"}, sent)
        require(all("failure" not in one for one in sent), sent)
        require(bus.json("failed", "ls", "--file", archive)["rows"] == [], "none is left in it")
        # Once more out of the endpoint and back; and out of the copy, which nobody has used yet.
        for _ in range(2):
            bus.good("failed", "archive", ids["b"], "--file", archive)
            bus.good("failed", "restore", ids["b"], "--file", archive)
            eventually(lambda: bus.waiting("error") == 1, lambda: bus.row("error"))
        bus.good("failed", "restore", ids["a"], "--file", copy)
        eventually(lambda: bus.waiting("error") == 2, lambda: bus.row("error"))
        # To a bus that has never seen them, but knows what they are.
        with Bus(stage) as other:
            other.start()
            require(f'"{type_name}"' in other.bad(66, "failed", "restore", "--all", "--file", copy),
                    "a type that is not known")
            other.good("type", "add", type_name, "command",
                       *(["--durable"] if type_name == "deed" else []))
            other.good("failed", "restore", "--all", "--file", copy)
            eventually(lambda: other.waiting("error") == 3, lambda: other.row("error"))
            require(other.row("error")["kind"] == "error", other.row("error"))


def archived_events(stage):
    """An event that failed at two endpoints is two messages of one id: each goes and comes back."""
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "fact", "event", "--durable")
        servers = []
        for endpoint in ("work", "other"):
            bus.good("sub", "add", endpoint, "fact")
            servers.append(bus.spawn("serve", endpoint, "--type", "fact", "--attempts", "1",
                                     "--quiet", "--command", "false", stderr=subprocess.DEVNULL))
        eventually(lambda: bus.is_served("work") and bus.is_served("other"), "two subscribers")
        for text in ("x", "y"):
            bus.good("publish", "fact", "--data", text)
        eventually(lambda: bus.depth("error") == 4, lambda: bus.row("error"))
        for server in servers:
            server.terminate()
            server.wait(LIMIT)
        archive = bus.folder / "archive"
        bus.good("failed", "archive", "--all", "--file", str(archive))
        rows = bus.json("failed", "ls", "--file", str(archive))["rows"]
        require(len(rows) == 4 and len({row["id"] for row in rows}) == 2, rows)
        # Killed before it could note that one was done: that one is known to the journal.
        as_archived = archive.read_text()
        bus.good("failed", "restore", rows[0]["id"], "--file", str(archive))
        eventually(lambda: bus.depth("error") == 2, lambda: bus.row("error"))
        begun = [line for line in archive.read_text().splitlines() if "restoring/1" in line]
        require(len(begun) == 2, begun)
        archive.write_text(as_archived + begun[0] + "\n")
        bus.good("failed", "restore", "--all", "--file", str(archive))
        require(bus.json("failed", "ls", "--file", str(archive))["rows"] == [], "none is left")
        # The other one of its id was not noted as begun, and came once more.
        eventually(lambda: bus.depth("error") == 5, lambda: bus.row("error"))
        bus.good("failed", "retry", "--all")
        eventually(lambda: bus.depth("work") + bus.depth("other") == 5 and
                   min(bus.depth("work"), bus.depth("other")) == 2, lambda: bus.row("work"))


def one_of_two_with_one_id(stage):
    """Of two messages with one id --failed-at names the one that is meant, on the bus and off."""
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "fact", "event", "--durable")
        for endpoint in ("work", "other"):
            bus.good("sub", "add", endpoint, "fact")
            bus.spawn("serve", endpoint, "--type", "fact", "--attempts", "1", "--quiet",
                      "--command", "false", stderr=subprocess.DEVNULL)
        eventually(lambda: bus.is_served("work") and bus.is_served("other"), "two subscribers")
        bus.good("publish", "fact", "--data", "x")
        bus.good("publish", "fact", "--data", "y")
        eventually(lambda: bus.depth("error") == 4, lambda: bus.row("error"))
        rows = bus.json("failed", "ls")["rows"]
        one = rows[0]["id"]
        require("--failed-at" in bus.bad(64, "failed", "edit", one, "--data", "z"), "what helps")
        bus.bad(66, "failed", "show", one, "--failed-at", "nowhere")
        bus.bad(66, "failed", "retry", one, "--failed-at", "nowhere", "--to", "error")
        shown = bus.json("failed", "show", one, "--failed-at", "other")
        require(shown["failure"]["endpoint"] == "other", shown)
        bus.good("failed", "edit", one, "--failed-at", "other", "--data", "z")
        left = bus.json("failed", "ls")["rows"]
        require([row["failed_at"] for row in left if row["id"] == one] == ["work"], left)
        archive = str(bus.folder / "archive")
        bus.good("failed", "archive", "--failed-at", "other", "--file", archive)
        require({row["failed_at"] for row in bus.json("failed", "ls")["rows"]} == {"work"},
                bus.json("failed", "ls"))
        rows = bus.json("failed", "ls", "--file", archive, "--failed-at", "other")["rows"]
        require(len(rows) == 2, rows)
        require(bus.json("failed", "ls", "--file", archive, "--failed-at", "work")["rows"] == [],
                "none of those that failed at work")


def archived_behind_a_killed_retry(stage, type_name):
    """What a killed retry may have sent back is marked when it comes out of the archive."""
    texts = [str(number) for number in range(64)]
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "lost", "--error")
        bus.good("send", type_name, "--to", "lost", "--lines", stdin="\n".join(texts) + "\n")
        archive = str(bus.folder / "archive")
        # Slow enough to be killed with the first in its hands, sent and not let go.
        child = bus.spawn("failed", "--endpoint", "lost", "retry", "--all", "--to", "other",
                          "--rate", "20")
        eventually(lambda: bus.depth("other") > 0, lambda: bus.row("other"))
        child.kill()
        child.wait()
        first = bus.depth("other")
        bus.good("failed", "--endpoint", "lost", "archive", "--all", "--file", archive)
        bus.good("failed", "restore", "--all", "--file", archive, "--to", "other")
        eventually(lambda: bus.depth("other") == first + len(texts), lambda: bus.row("other"))
        seen = {}
        for message in bus.lines("peek", "other"):
            seen.setdefault(message["text"], []).append(message["repeated"])
        require(sorted(seen) == sorted(texts), seen)
        twice = [marks for marks in seen.values() if len(marks) == 2]
        require(len(twice) == first and all(any(marks) for marks in twice), seen)


def failed_behind_events(stage):
    """Events that failed at several endpoints have one id: each is passed over as its own."""
    count, ends = 60, ("work", "other", "third")
    with Bus(stage).start() as bus:
        bus.good("type", "add", "fact", "event", "--durable")
        bus.good("type", "add", "deed", "command", "--durable")
        bus.good("endpoint", "create", "there", *ends)
        bus.good("endpoint", "create", "error", "--error", "--lane-bytes", "4096")
        for endpoint in ends:
            bus.good("sub", "add", endpoint, "fact")
        bus.good("publish", "fact", "--lines", stdin="".join(f"{n}\n" for n in range(count)))
        for endpoint in ends:
            eventually(lambda: bus.depth(endpoint) == count, lambda: bus.row(endpoint))
            server = bus.spawn("serve", endpoint, "--type", "fact", "--attempts", "1",
                               "--quiet", "--command", "false", stderr=subprocess.DEVNULL)
            eventually(lambda: bus.depth(endpoint) == 0, lambda: bus.row(endpoint))
            server.terminate()
            server.wait(LIMIT)
        bus.good("send", "deed", "--to", "error", "--data", "behind them")
        eventually(lambda: bus.depth("error") == count * len(ends) + 1, lambda: bus.row("error"))
        text = bus.good("failed", "retry", "--type", "deed", "--to", "there")
        require("sent back 1 messages" in text, text)
        eventually(lambda: bus.depth("there") == 1, lambda: bus.row("there"))
        bus.good("failed", "retry", "--all")
        eventually(lambda: all(bus.depth(endpoint) == count for endpoint in ends),
                   lambda: [bus.row(endpoint) for endpoint in ends])


def begun_restores(stage, type_name):
    """What a restore had begun when it was killed may be on the bus: it comes again, marked."""
    with prepare(Bus(stage)) as bus:
        fail_some(bus, type_name, ["a", "b"]).terminate()
        archive = bus.folder / "archive"
        bus.good("failed", "archive", "--all", "--file", str(archive))
        first = json.loads(archive.read_text().splitlines()[0])
        with archive.open("a", encoding="ascii") as file:
            file.write(json.dumps({"schema": "shmbus.restoring/1", "id": first["id"],
                                   "attempt": 7}) + "\n")
        as_left = archive.read_text()
        states = {row["id"]: row["state"]
                  for row in bus.json("failed", "ls", "--file", str(archive))["rows"]}
        require(states.pop(first["id"]) == "restoring" and set(states.values()) == {"archived"},
                states)
        bus.good("failed", "restore", "--all", "--file", str(archive))
        eventually(lambda: bus.depth("error") == 2, lambda: bus.row("error"))
        marks = {one["id"]: one["repeated"] for one in bus.lines("peek", "error")}
        require([one for one, is_marked in marks.items() if is_marked] == [first["id"]], marks)
        # Killed once more, before it could note that it was done.
        archive.write_text(as_left)
        bus.good("failed", "restore", first["id"], "--file", str(archive))
        if type_name == "deed":
            bus.good("send", "deed", "--to", "error", "--data", "behind it")
        eventually(lambda: bus.depth("error") == 3, lambda: bus.row("error"))
        copies = [one for one in bus.lines("peek", "error") if one["id"] == first["id"]]
        require(len(copies) == (1 if type_name == "deed" else 2), copies)
        require(all(one["repeated"] for one in copies), copies)


def restored_is_on_disk(stage):
    """What is noted as restored outlives the power, also when the disk takes nothing for a while."""
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "lost", "--error", "--lane-bytes", "4194304")
        bus.good("send", "deed", "--to", "lost", "--lines",
                 stdin="".join(f"{number}\n" for number in range(3000)))
        archive = bus.folder / "archive"
        bus.good("failed", "--endpoint", "lost", "archive", "--all", "--file", str(archive))

        def noted():
            return archive.read_text().count("shmbus.restored/1")
        child = bus.spawn("failed", "--endpoint", "lost", "restore", "--all", "--file",
                          str(archive))
        eventually(lambda: noted() > 0, "the first that are restored")
        bus.daemon.send_signal(signal.SIGSTOP)
        # Until it has noted all that it will: it waits for the disk, which nobody serves.
        try:
            child.wait(1)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        count = noted()
        bus.stop(signal.SIGKILL)
        shutil.rmtree(bus.place)  # all that was in memory
        bus.start()
        eventually(lambda: bus.row("lost") is not None and bus.depth("lost") >= count,
                   lambda: (count, bus.row("lost")))


def wrong_archives(stage):
    """What is no archive is refused or told of; nothing of it is believed."""
    with prepare(Bus(stage)) as bus:
        fail_some(bus, "job", ["a", "b"]).terminate()
        archive = bus.folder / "archive"
        bus.good("failed", "archive", "--all", "--file", str(archive))
        whole = archive.read_text()
        first = json.loads(whole.splitlines()[0])
        # The last line is cut off: its message was not let go, and is told of.
        archive.write_text(whole[:-20])
        said = bus.run("--json", "failed", "ls", "--file", str(archive))
        require(len(json.loads(said.out)["rows"]) == 1 and "line 2" in said.err, said)
        bus.good("send", "job", "--to", "error", "--data", "c")
        bus.good("failed", "archive", "--all", "--file", str(archive))
        require(len(bus.json("failed", "ls", "--file", str(archive))["rows"]) == 2, "a whole line")
        for wrong in ({"id": "x" * 32}, {"type": 7}, {"hex": "0g"}, {"hex": None},
                      {"durable": "yes"}, {"failure": {}}, {"lineage": {"related_to": "7"}},
                      {"failure": dict(first["failure"], attempts=10**30)},
                      {"failure": dict(first["failure"], attempts=-1)},
                      {"failure": dict(first["failure"], what=["x"])}):
            archive.write_text(json.dumps(dict(first, **wrong)) + "\n")
            bus.bad(65, "failed", "restore", "--all", "--file", str(archive))
        archive.write_text(json.dumps({name: first[name] for name in ("schema", "id")}) + "\n")
        bus.bad(65, "failed", "restore", "--all", "--file", str(archive))
        require(bus.json("failed", "ls", "--file", str(archive))["rows"][0]["type"] is None, "ls")
        require(bus.waiting("error") == 0, "something was restored")
        bus.bad(74, "failed", "ls", "--file", str(bus.folder))
        bus.bad(73, "failed", "archive", "--all", "--file", str(bus.folder / "no" / "such"))


def archive_and_restore_are_killed(stage, type_name):
    """Wherever they are killed, each message is in the endpoint or in the file; twice only marked."""
    count = 3000
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "lost", "--error", "--lane-bytes", "4194304")
        numbers = "".join(f"{number}\n" for number in range(count))
        bus.good("send", type_name, "--to", "lost", "--lines", stdin=numbers)
        archive = str(bus.folder / "archive")
        kills = 0
        for verb in ("archive", "restore"):
            for attempt in range(40):
                child = bus.spawn("failed", "--endpoint", "lost", verb, "--all", "--file", archive)
                try:
                    if child.wait(0.01 + 0.003 * attempt) == 0:
                        break
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                    kills += 1
            eventually(lambda: bus.run("failed", "--endpoint", "lost", verb, "--all", "--file",
                                       archive).status == 0, verb)
            if verb == "archive":
                eventually(lambda: bus.depth("lost") == 0, lambda: bus.row("lost"))
                rows = bus.json("failed", "ls", "--file", archive)["rows"]
                require(len(rows) == count, f"{len(rows)} are archived")
        require(kills > 4, f"only {kills} were killed")
        eventually(lambda: bus.row("lost")["on_disk"] == 0, lambda: bus.row("lost"))
        seen = {}
        for message in bus.lines("peek", "lost"):
            seen.setdefault(message["text"], []).append(message)
        require(len(seen) == count, f"{count - len(seen)} lost after {kills} kills")
        for text, messages in seen.items():
            require(len({one["id"] for one in messages}) == 1, f"{text} has two ids")
            require(sum(not one["repeated"] for one in messages) <= 1, f"{text} is not marked")
            require(type_name == "job" or len(messages) == 1, f"{text} is known to the journal")


def two_at_once(stage):
    """Two of the same share the work: none is lost, and without a death none is twice."""
    count = 4000
    with prepare(Bus(stage)) as bus:
        archive = str(bus.folder / "archive")
        numbers = [str(number) for number in range(count)]
        bus.good("endpoint", "create", "lost", "there", "--lane-bytes", "4194304")
        bus.good("send", "job", "--to", "lost", "--lines", stdin="\n".join(numbers) + "\n")

        def twice(*words):
            children = [bus.spawn(*words) for _ in range(2)]
            for child in children:
                said = child.communicate(timeout=LIMIT)
                require(child.returncode in (0, 75), f"{words}: {child.returncode} {said}")
        twice("move", "lost", "there")
        eventually(lambda: bus.depth("there") == count, lambda: bus.row("there"))
        for _ in range(3):
            twice("failed", "--endpoint", "there", "archive", "--all", "--file", archive)
            bus.good("failed", "--endpoint", "there", "archive", "--all", "--file", archive)
            require(bus.depth("there") == 0, bus.row("there"))
            twice("failed", "--endpoint", "there", "restore", "--all", "--file", archive)
            bus.good("failed", "--endpoint", "there", "restore", "--all", "--file", archive)
            eventually(lambda: bus.depth("there") == count, lambda: bus.row("there"))
        twice("failed", "--endpoint", "there", "retry", "--all", "--to", "work")
        bus.good("failed", "--endpoint", "there", "retry", "--all", "--to", "work")
        eventually(lambda: bus.depth("work") == count, lambda: bus.row("work"))
        require(sorted(one["text"] for one in bus.lines("peek", "work")) == sorted(numbers), "all")


def failed_on_disk(stage):
    """More failed messages than fit into the lane: all of them are meant all the same."""
    count = 2000
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "other.deed", "command", "--durable")
        bus.good("endpoint", "create", "lost", "--lane-bytes", "4096", "--error")
        numbers = "".join(f"{number}\n" for number in range(count))
        bus.good("send", "deed", "--to", "lost", "--lines", stdin=numbers)
        require(f"{bus.row('lost')['on_disk']} more wait on disk"
                in bus.run("failed", "--endpoint", "lost", "ls").err, "ls says what it leaves out")
        text = bus.good("failed", "--endpoint", "lost", "retry", "--all", "--to", "work")
        require(f"sent back {count} messages" in text, text)
        eventually(lambda: bus.row("work")["waiting"] + bus.row("work")["on_disk"] == count,
                   lambda: bus.row("work"))
        bus.good("move", "work", "lost")
        eventually(lambda: bus.row("lost")["waiting"] + bus.row("lost")["on_disk"] == count,
                   lambda: bus.row("lost"))
        archive = bus.folder / "archive"
        text = bus.good("failed", "--endpoint", "lost", "archive", "--type", "deed", "--file",
                        str(archive))
        require(f"archived {count} messages" in text, text)
        texts = [json.loads(line)["text"] for line in archive.read_text().splitlines()]
        require(texts == numbers.splitlines(), texts[:10])
        eventually(lambda: bus.row("lost")["waiting"] + bus.row("lost")["on_disk"] == 0,
                   lambda: bus.row("lost"))
        # What is passed over cannot be held: it would keep the room that the next needs.
        bus.good("send", "deed", "--to", "lost", "--lines", stdin=numbers)
        bus.good("send", "other.deed", "--to", "lost", "--data", "the last one")
        text = bus.good("failed", "--endpoint", "lost", "retry", "--type", "other.deed",
                        "--to", "work")
        require("sent back 1 messages" in text, text)
        eventually(lambda: bus.row("work")["waiting"] == 1, lambda: bus.row("work"))
        require(left_in_order(bus, "lost", "deed") == numbers.splitlines(), "the others, in order")


def left_in_order(bus, endpoint, type_name):
    """What messages of that type say, oldest first; afterwards they are gone."""
    archive = bus.folder / f"left-{endpoint}"
    bus.good("failed", "--endpoint", endpoint, "archive", "--type", type_name, "--file",
             str(archive))
    return [json.loads(line)["text"] for line in archive.read_text().splitlines()]


def failed_behind_thousands(stage):
    """More that are not meant than a process has hands for, and than fit into one lane."""
    each = 5000
    with prepare(Bus(stage)) as bus:
        bus.good("type", "add", "other", "command")
        # Nobody handles these types there: all of one process fail at once, into its one lane.
        sent = [[f"{server} {number}" for number in range(each)] for server in range(4)]
        for lines in sent:
            server = bus.spawn("serve", "work", "--type", "fixed", "--quiet", "--command", "cat",
                               stderr=subprocess.DEVNULL)
            before = bus.waiting("error")
            bus.good("send", "job", "--to", "work", "--lines", stdin="\n".join(lines) + "\n")
            eventually(lambda: bus.waiting("error") == before + each, lambda: bus.row("error"))
            if lines is sent[-1]:
                bus.good("send", "other", "--to", "work", "--data", "the last", "--count", "3")
                eventually(lambda: bus.waiting("error") == 4 * each + 3, lambda: bus.row("error"))
            server.terminate()
            server.wait(LIMIT)
        text = bus.good("failed", "retry", "--type", "other", "--to", "other")
        require("sent back 3 messages" in text, text)
        eventually(lambda: bus.waiting("other") == 3, lambda: bus.row("other"))
        left = left_in_order(bus, "error", "job")
        # What was held comes first, a hand at a time, in no order of hands.
        require(sorted(left) == sorted(sum(sent, [])), len(left))
