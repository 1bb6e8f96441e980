"""Messages that are sent, asked for and answered.

SPDX-License-Identifier: BSL-1.0
"""
import subprocess
import time

from cli_checks.bus import Bus, prepare
from cli_checks.ground import BUILD, DAEMON, LIMIT, TOOL, eventually, require


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
        require("[full]" in text and f"after {bus.waiting('tiny')} that were sent" in text, text)


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
        for wrong in ('{"bogus": 1}', '{"times": "x"}', '{"times": -1}', "{", "", "7", "[]",
                      '{"times": 4294967296}', '{"times": 1e30}', '{"times": 1e999}',
                      '{"times": 1.5}', '{"times": NaN}', '{"times": null}', '{"times": [1]}',
                      '{"times": 1} x', '{"times": 1, "times": 2}', '{"times\\u0000": 1}'):
            said = bus.bad(65, "send", "example.greet", "--fields", wrong)
            require("likely:" in said or "try:" in said, said)
        require(len(bus.lines("peek", "greeter")) == 2, "something wrong was sent")
        # What is not named is zero.
        bus.good("send", "example.greet", "--fields", "{}")
        require(bus.lines("peek", "greeter")[2]["fields"] == {"times": 0}, "zero")
        bus.good("type", "add", "plain", "command")
        bus.bad(65, "send", "plain", "--to", "greeter", "--fields", "{}")


def serving_so_many(stage):
    """As many as were wanted are taken, and no more; none when nobody takes the output."""
    with prepare(Bus(stage)) as bus:
        bus.good("send", "job", "--to", "work", "--lines", stdin="a\nb\nc\nd\ne\n")
        serve = ["serve", "work", "--type", "job", "--command",
                 'cat; echo ":$SHMBUS_MESSAGE_ATTEMPT$SHMBUS_MESSAGE_REDELIVERED"']
        require(bus.good(*serve, "--count", "2") == "a:10\nb:10\n", "two of five")
        require(bus.depth("work") == 3, bus.row("work"))
        with open("/dev/full", "w", encoding="ascii") as full:
            said = subprocess.run([TOOL, *serve], env=bus.environment, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=LIMIT)
        require(said.returncode == 74 and "full" in said.stderr, said)
        require(bus.depth("work") == 2, bus.row("work"))
        require(bus.good(*serve, "--count", "2") == "d:10\ne:10\n", "the last two")
        for form, start in (("json", '{"schema":"shmbus.served/1"'), ("csv", "id,type,bytes,hex")):
            bus.good("send", "job", "--data", "a")
            said = bus.good("--format", form, *serve, "--count", "1")
            require(said.startswith(start), said)


def serving_that_is_refused(stage):
    """Nothing is left of it, least of all an endpoint that nobody reads."""
    with prepare(Bus(stage)) as bus:
        bus.good("endpoint", "create", "jobs", "--handles", "job")
        for status, *types in ((69, "job"), (69, "news", "deed", "job"), (66, "bogus"),
                               (64, "job.answer")):
            words = sum((["--type", one] for one in types), [])
            text = bus.bad(status, "serve", "nope", *words, "--command", "cat")
            require(bus.row("nope") is None, (text, bus.row("nope")))
            require(status != 69 or "'jobs'" in text, text)
        # Where it was there before, it stays; failed ones are handled beside who handles the rest.
        bus.bad(69, "serve", "work", "--type", "job", "--command", "cat")
        require(bus.row("work") is not None, "work")
        bus.good("send", "job", "--to", "error", "--data", "x")
        bus.good("serve", "error", "--type", "job", "--command", "cat", "--count", "1")


def bytes_that_are_no_text(stage):
    """What is no text, or would steer a terminal, is shown as digits; JSON stays JSON."""
    no_text = ["00", "1b5b324a", "7f", "c29b324a", "c080", "c19b", "e0809b", "f08080af", "eda080",
               "edbfbf", "f4908080", "f880808080", "ff", "c3", "e282", "61c3", "e2", "80"]
    text = {"c3a4": "\u00e4", "e282ac": "\u20ac", "f09f9880": "\U0001f600", "c2a0": "\u00a0",
            "610a62": "a\nb", "ed9fbf": "\ud7ff", "f48fbfbf": "\U0010ffff"}
    with prepare(Bus(stage)) as bus:
        for digits in no_text + list(text):
            bus.good("send", "job", "--to", "work", "--hex", digits)
        seen = {one["hex"]: one.get("text") for one in bus.lines("peek", "work")}
        require(seen == {**dict.fromkeys(no_text), **text}, seen)
        said = bus.good("peek", "work")
        require(all(line.endswith("  " + digits) for line, digits
                    in zip(said.splitlines()[1:], no_text)), said)
        bus.good("endpoint", "purge", "work", "--yes")
        bus.spawn("serve", "work", "--type", "job", "--reply", "job.answer", "--command", "cat")
        eventually(lambda: bus.is_served("work"), "a server")
        # What a name or a reason in an archive says steers no terminal either.
        archive = bus.folder / "archive"
        archive.write_text('{"schema":"shmbus.message/1","id":"%032d","type":"\\u009b2J\\u001b[2J"}\n'
                           % 7)
        said = bus.good("failed", "ls", "--file", str(archive))
        require("??2J?[2J" in said, said)
        for digits in ("eda080", "c29b", "ff00"):
            answer = bus.json("request", "job", "--hex", digits)
            require(answer["hex"] == digits and "text" not in answer, answer)


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
