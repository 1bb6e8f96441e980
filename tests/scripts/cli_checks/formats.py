"""Every command in every format that scripts read.

SPDX-License-Identifier: BSL-1.0
"""
import csv
import io
import json

from cli_checks.bus import Bus, fail_some, prepare
from cli_checks.ground import eventually, require, valid
from cli_checks.words import commands_of

# What prints for people or for other programs alone, and says so.
OWN_FORM = {"completion": ["bash"], "metrics": []}
# What does not end, or becomes another program.
ELSEWHERE = {"run", "serve"}


def lines_for(bus, archive, backup):
    """A line for each command that prints, in an order in which each has something to do."""
    return [
        "ls", "env", "version", "process ls", "endpoint ls", "endpoint show work",
        "endpoint create fresh fresher", "endpoint rm fresh --dry-run", "endpoint rm fresh",
        "sub add work news", "sub ls", "sub rm work news --dry-run", "sub rm work news",
        "type ls", "type show job", "type add new command",
        "send job --to work --data x --count 9", "publish news --data x", "request job --data x",
        "tail other", "peek other", "get other --yes", "copy other work --dry-run",
        "copy other work", "move other work --dry-run", "move other work",
        "endpoint purge work --dry-run", "endpoint purge work --yes",
        "failed ls", "failed ls --group-by type", f"failed show {first_failed(bus)}",
        f"failed export --all --file {archive}.copy",
        f"failed edit {first_failed(bus)} --data X", "failed retry --all --dry-run",
        f"failed archive --all --dry-run --file {archive}",
        f"failed archive --all --file {archive}", f"failed ls --file {archive}",
        f"failed restore --all --dry-run --file {archive}",
        f"failed restore --all --file {archive}", "failed retry --all --to other",
        "journal stat", "journal verify", "journal dump", f"journal backup {backup}",
        "doctor", "doctor --fix", "check", "check backlog", "help", "help full", "help send",
        "help 69", "help no_bus",
    ]


def first_failed(bus):
    return bus.json("failed", "ls")["rows"][0]["id"]


def whole_rows(text):
    """Of a CSV text: a heading, and rows that are as wide."""
    rows = list(csv.reader(io.StringIO(text), strict=True))
    require(rows and len(set(rows[0])) == len(rows[0]), text)
    require(all(len(row) == len(rows[0]) for row in rows), text)
    return rows


def documents(text):
    """The JSON of a command: one object, or one a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def every_verb(stage, form):
    with prepare(Bus(stage)) as bus:
        fail_some(bus, "job", ["a", "b"])
        bus.children[-1].terminate()
        bus.children[-1].wait()
        bus.good("send", "deed", "--to", "other", "--data", "x", "--count", "3")
        answering = bus.spawn("serve", "work", "--type", "job", "--reply", "job.answer",
                              "--command", "cat")
        eventually(lambda: bus.is_served("work"), "somebody who answers")
        lines = lines_for(bus, bus.folder / "archive", bus.folder / "backup")
        # No command is left out.
        known = set(OWN_FORM) | ELSEWHERE | {"journal compact", "journal restore",
                                        "journal accept-loss"}
        for noun in commands_of(bus.good("--help")):
            below = commands_of(bus.good(noun, "--help"))
            for verb in [f"{noun} {verb}" for verb in below] or [noun]:
                require(verb in known or any((line + " ").startswith(verb + " ") for line in lines),
                        f"'{verb}' is not tried")
        for line in lines:
            words = line.split()
            if words[:2] == ["failed", "retry"] and answering.poll() is None:
                answering.terminate()
                answering.wait()
            said = bus.run("--format", form, *words)
            require(said.status == 0 or (words[0] in ("doctor", "check") and said.out),
                    f"{line}: {said}")
            try:
                if form == "csv":
                    require(len(whole_rows(said.out)) > 1, f"{line}: no rows: {said}")
                else:
                    require([valid(one) for one in documents(said.out)], f"{line}: {said}")
            except ValueError as error:
                raise AssertionError(f"{line}: {error}: {said.out}") from None
        for verb, more in OWN_FORM.items():
            require("neither JSON nor CSV" in bus.bad(64, "--format", form, verb, *more), verb)


def in_json(stage):
    every_verb(stage, "json")


def in_csv(stage):
    every_verb(stage, "csv")
