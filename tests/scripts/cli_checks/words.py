"""What is asked without a bus, or in wrong words; how the command is documented.

SPDX-License-Identifier: BSL-1.0
"""
import os
import pty
import re
import subprocess

from cli_checks.bus import Bus, fail_some, prepare
from cli_checks.ground import BUILD, LIMIT, ROOT, TOOL, require


def without_a_bus(stage):
    with Bus(stage) as bus:
        text = bus.bad(69, "ls")
        require("[no_bus]" in text and str(bus.place) in text and "try:" in text, text)
        require(not bus.place.exists(), "looking has made something")
        for words in (["endpoint", "ls"], ["tail", "x"], ["peek", "x"], ["process", "ls"],
                      ["failed", "ls"], ["move", "a", "b", "--dry-run"], ["metrics"]):
            require("[no_bus]" in bus.bad(69, *words), words)
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
        # Four statuses are all that a monitoring system knows.
        bus.bad(3, "check", "bogus")
        bus.bad(3, "check", "--bogus")
        require("Exit statuses" in bus.good("--help"), "statuses in the help")
        require(re.match(r"\d+\.\d+\.\d+\n", bus.good("version")), "version")
        require(bus.json("version")["version"] + "\n" == bus.good("--version"), "versions")
        require(bus.json("env")["bus_directory"] == str(bus.place), "env")


def wrong_numbers(stage):
    """Refused as they stand there: none is taken for the nearest that there is."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--data", "x")
        places = [["send", "job", "--to", "work", "--data", "x", "--count"],
                  ["peek", "work", "-n"], ["tail", "work", "-n"], ["tail", "work", "--count"],
                  ["get", "work", "--yes", "-n"], ["copy", "work", "other", "-n"],
                  ["move", "work", "other", "-n"], ["check", "backlog", "--warn"],
                  ["check", "backlog", "--crit"], ["type", "add", "t", "command", "--bytes"],
                  ["endpoint", "create", "e", "--lane-bytes"],
                  ["serve", "work", "--type", "job", "--command", "true", "--attempts"]]
        for words in (["get", "work", "--yes", "-n"], ["copy", "work", "error", "-n"],
                      ["move", "work", "error", "-n"], ["peek", "work", "-n"],
                      ["tail", "work", "--count"],
                      ["serve", "work", "--type", "job", "--command", "true", "--count"]):
            require("0 messages" in bus.bad(64, *words, "0"), words)
        require(bus.waiting("work") == 1, "none was meant")
        for words in places:
            for text in ("-1", "99999999999999999999", "1e3", "0x10", "1.5", " 1", "", "1 "):
                said = bus.bad(3 if words[0] == "check" else 64, *words[:-1], f"{words[-1]}={text}" if words[-1][1] == "-"
                               else f"{words[-1]}{text}")
                require("whole number" in said or not text, said)
        said = bus.bad(3, "check", "--warn", "10", "--crit", "5")
        require("--warn 10 is above --crit 5" in said, said)
        for words, figures in ((["--crit", "5"], "backlog=1;5;5"),
                               (["--warn", "200000"], "backlog=1;200000;200000")):
            require(figures in bus.good("check", "backlog", *words), words)
        for text in ("-1", "0", "nan", "inf", "-inf", "fast", "1e999"):
            bus.bad(64, "send", "job", "--to", "work", "--data", "x", f"--rate={text}")
        require(bus.depth("work") == 1 and bus.depth("other") == 0, bus.row("work"))


# Where a script says them with a variable that is not set.
EMPTY = """
64 --bus= ls
64 move work other --type=
64 move work other --id=
64 copy work other --type=
64 send job --to= --data x
64 send job --file=
64 serve work --type job --command=
64 serve work --type job --command true --reply=
64 failed ls --endpoint=
64 failed archive --all --file=
64 journal --dir= stat
64 journal --dir= compact
64 journal --dir= accept-loss --all
64 metrics --journal=
64 metrics --listen=
64 run --config=
"""


def empty_values(stage):
    """They say nothing, and are not what is meant without the option: all messages, our journal."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--data", "x")
        for line in EMPTY.strip().splitlines():
            status, *words = line.split()
            bus.bad(int(status), *words)
            apart = [part for word in words
                     for part in ([word[:-1], ""] if word[-1] == "=" else [word])]
            said = bus.bad(int(status), *apart)
            require("it is empty" in said, f"{apart}: {said}")
        require("it is empty" in bus.bad(64, "failed", "show", ""), "an id")
        require(bus.depth("work") == 1 and bus.depth("other") == 0, bus.row("work"))
        # A message may be so.
        bus.good("send", "job", "--to", "other", "--data", "")
        bus.good("send", "job", "--to", "other", "--hex", "", stdin="nothing is read here")
        require([one["bytes"] for one in bus.lines("peek", "other")] == [0, 0], "two of no bytes")


NOT_THERE = """
66 endpoint show nope
66 endpoint rm nope
66 endpoint purge nope --yes
66 sub add nope news
66 sub add work nope
64 sub add work job
66 sub rm nope news
66 sub rm work nope
66 type show nope
75 type add job event
64 type add job bogus
66 send nope --data x
66 send job --to nope --data x
66 publish nope --data x
66 request nope --data x
66 request job --to nope --data x
66 serve work --type nope --command cat
66 serve work --type job --reply nope --command cat
66 tail nope
66 tail work --type nope
66 peek nope
66 get nope --yes
66 copy nope work
66 copy work nope
66 move nope work
66 move work nope
66 move work other --type nope
66 move work other --id nope
66 failed ls --type nope
64 failed ls --reason nope
66 failed --endpoint nope ls
66 failed show nope
66 failed --endpoint nope retry --all
64 failed retry --reason nope
66 failed retry nope
66 failed retry --all --to nope
66 failed edit nope --data x
66 failed archive nope --file /dev/null
66 failed export nope --file /dev/null
66 failed restore --all --file /nope
64 failed restore --all --file -
66 journal --dir /nope stat
66 journal --dir /nope verify
66 journal --dir /nope dump
66 journal --dir /nope compact
66 journal --dir /nope accept-loss --all
66 journal --dir /nope backup /tmp
64 journal accept-loss 5-3
66 help nope
64 metrics --listen nope
64 completion zsh
78 run --config /nope
69 --bus /nope ls
69 --bus nope ls
77 get shmbus.journal --yes
77 copy work shmbus.journal
77 move work shmbus.journal
77 failed retry --all --to shmbus.journal
75 endpoint rm shmbus.journal
77 endpoint purge shmbus.journal --yes
66 send job --to shmbus.journal --data x
75 sub add shmbus.journal news
"""


def wrong_names(stage):
    """Each verb with something that is not there, or not for it."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "deed", "--to", "other", "--data", "makes the journal")
        bus.good("send", "job", "--to", "work", "--data", "x")
        bus.good("send", "job", "--to", "error", "--data", "x")
        for line in NOT_THERE.strip().splitlines():
            status, *words = line.split()
            said = bus.run(*words)
            require(said.status == int(status) and said.err.startswith("shmbus") and not said.out,
                    f"{line}: {said}")
        # Where it was not understood, the help of just that command is named.
        for words in (["journal", "backup"], ["failed", "retry", "--bogus"], ["endpoint"], []):
            said = bus.bad(64, *words)
            meant = [word for word in words if word != "--bogus"]
            require("try:    " + " ".join(["shmbus", *meant, "--help"]) in said, said)


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


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def entries_of(page):
    """What stands behind each .TP, by its first line."""
    page = re.sub(r"\\f[A-Z]", "", page.replace("\\-", "-"))
    found = {}
    for entry in re.split(r"^\.TP\n", page, flags=re.M)[1:]:
        head, _, text = re.split(r"^\.S[HS] ", entry, flags=re.M)[0].partition("\n")
        head = re.sub(r"^\.[A-Z]+ ", "", head).replace('"', "")
        found[head] = head + "\n" + text
    return found


def every_option_is_documented(stage):
    """Each option of each program stands in its page, at its verb, and no other does."""
    page = (ROOT / "tools/man/shmbus.1").read_text()
    entries = entries_of(page)
    # Said once for all of them.
    everywhere = options_in(subprocess.run([TOOL, "--help"], capture_output=True, text=True).stdout)
    bodies = {"--data", "--hex", "--file", "--fields"}
    with Bus(stage) as bus:
        verbs = []
        for noun in commands_of(bus.good("--help")):
            below = commands_of(bus.good(noun, "--help"))
            verbs += [[noun, verb] for verb in below] or [[noun]]
        for verb in verbs:
            words = " ".join(verb)
            text = "".join(entry for head, entry in entries.items()
                           if re.match(re.escape(words) + r"(?![\w-])", head))
            there = options_in(bus.good(*verb, "--help").split("Exit statuses")[0]) - {"--help"}
            told = options_in(text)
            if words in ("publish", "move"):  # as the one before it
                continue
            missing = there - told - (bodies if {"--data", "--hex"} <= there else set())
            require(not missing, f"{words}: {missing} not in shmbus.1")
            noun = options_in(bus.good(verb[0], "--help"))
            wrong = told - there - everywhere - noun
            require(not wrong, f"{words}: {wrong} in shmbus.1 only")
    for program, name in (("shmbus", "man/shmbus.1"), ("shmbusd", "man/shmbusd.8"),
                          ("top/shm-top", "top/shm-top.1")):
        help_text = subprocess.run([BUILD / "tools" / program, "--help"], capture_output=True,
                                   text=True).stdout
        told = options_in((ROOT / "tools" / name).read_text().replace("\\-", "-"))
        missing = options_in(help_text) - told - {"--help"}
        require(not missing, f"{program}: {missing} not in {name}")


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
                  'try shmbus journal --d\ntry shmbus failed re\ntry shmbus failed retry --ra\n'
                  'try shmbus endpoint create --ha\ntry shmbus --format ""\n'
                  'try shmbus failed retry --reason h\ntry shmbus check b\n'
                  'try shmbus send job --to w\ntry shmbus help no_b\ntry shmbus --bus sh\n'
                  'try shmbus send job --count ""\ntry shmbus copy w\n'
                  'try shmbus tail work --type n\ntry shmbus serve work --reply job.\n'
                  'try shmbus endpoint create x --handles de\ntry shmbus type add x --base n\n'
                  'try shmbus failed --endpoint er\n'
                  'SHMBUS_BUS=another try shmbus --bus shop endpoint show w\n')
        said = subprocess.run(["bash", "-c", script], env=bus.environment, capture_output=True,
                              text=True, timeout=LIMIT)
        lines = said.stdout.splitlines()
        require(lines[:2] == ["endpoint", "work"] and lines[2].split() == ["job", "job.answer"]
                and lines[3] == "--dir" and lines[4].split() == ["retry", "restore"]
                and lines[5] == "--rate" and lines[6] == "--handles", said)
        require(lines[7:] == ["table json csv", "handler_threw", "backlog", "work", "no_bus",
                              "shop", "", "work", "news", "job.answer", "deed", "news", "error",
                              "work"], said)


def manual_pages(stage):
    for page in ("shmbus.1", "shmbus.7", "shmbusd.8"):
        path = ROOT / "tools/man" / page
        said = subprocess.run(["man", "--warnings", "-Tutf8", "-l", str(path)],
                              capture_output=True, text=True, timeout=LIMIT)
        require(said.returncode == 0 and not said.stderr, f"{page}: {said.stderr}")


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
        edited = bus.json("failed", "ls")["rows"][0]["id"]
        require(bus.json("failed", "show", edited[:30])["text"] == "cd", "edited")
        # Nor may an editor leave bytes that no message of the type has.
        bus.good("send", "fixed", "--to", "error", "--hex", "0001020304050607")
        fixed = next(row["id"] for row in bus.json("failed", "ls")["rows"] if row["bytes"] == 8)
        status, said = at_a_terminal(bus, "failed", "edit", fixed, env={"EDITOR": "sed -i s/00//"})
        require(status == 65 and "8 bytes" in said and bus.depth("error") == 2, said)


def manual_examples(stage):
    """As they stand in the page, each time: nobody is there before its receiver in vain."""
    page = (ROOT / "tools/man/shmbus.1").read_text().replace("\\-", "-")
    first = re.search(r"^\.SH EXAMPLES\n.*?^\.RS\n(.*?)^\.RE$", page, re.M | re.S).group(1)
    for _ in range(5):
        with Bus(stage) as bus:
            bus.start()
            said = subprocess.run(["bash", "-ec", first + "kill $!"], capture_output=True,
                                  text=True, timeout=LIMIT,
                                  env=dict(bus.environment, TZ="UTC",
                                           PATH=f"{BUILD}/tools:{os.environ['PATH']}"))
            require(said.returncode == 0 and "UTC" in said.stdout.splitlines()[-1], said)


def readme(stage):
    text = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- script -->\n```sh\n(.*?)```", text, re.S).group(1)
    with Bus(stage) as bus:
        bus.start()
        said = subprocess.run(["bash", "-ec", block + "wait\n"], capture_output=True, text=True,
                              timeout=LIMIT, env=dict(bus.environment, TZ="UTC",
                                                      PATH=f"{BUILD}/tools:{os.environ['PATH']}"))
        require(said.returncode == 0 and "UTC" in said.stdout.splitlines()[-1], said)
