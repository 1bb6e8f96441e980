#!/usr/bin/env python3
"""What the bus is compared with: every peer that is installed carries everything whole and in order;
a planted loss is noticed; what is missing is named; a killed shm-bench leaves no server behind.

Nothing here judges a figure: the rounds are far too short to mean anything.

SPDX-License-Identifier: BSL-1.0
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Nothing is written beside the sources.
sys.dont_write_bytecode = True

from bus_stage import BUILD, ROOT, Checks, equal, wait_for

BENCH = BUILD / "bench/shm-bench"
checks = Checks()


def bench(*words, **environment):
    ran = subprocess.run([BENCH, "peers", *words, "--json"], capture_output=True, text=True,
                         check=False, timeout=600, env={**os.environ, **environment})
    return ran, [json.loads(line) for line in ran.stdout.splitlines()]


def is_free(peer):
    """Only one RouDi can run on a machine, and others may be measuring here."""
    return not next(one for one in bench()[1] if one["peer"] == peer["peer"])["absent"]


def short_round(peer):
    wait_for("it to be there again", lambda: is_free(peer))
    ran, (head, *rows) = bench(peer["peer"], "--seconds", "0.1")
    equal(head["absent"], None)
    equal({row["integrity"] for row in rows}, {"ok"}, rows)
    equal(ran.returncode, 0, ran.stderr)
    durable = [row for row in rows if row["scenario"] == "durable"]
    equal(len(rows) >= 5 or len(durable) == 3, True, f"scenarios: {rows}")


def readme_row(peer):
    """What bench/README.md must say of it."""
    marks = [("yes" if holds else "-") for holds in peer["guarantees"].values()]
    return "| " + " | ".join([peer["peer"], peer["package"] or "-", *marks]) + " |"


def told_in_readme(present):
    rows = (ROOT / "bench/README.md").read_text().splitlines()
    missing = [row for row in map(readme_row, present.values()) if row not in rows]
    equal(missing, [], "rows that are not in bench/README.md")


def planted_loss(name, scenarios):
    ran, (_, *rows) = bench(name, "--seconds", "0.1", SHMBUS_BENCH_LOSE="1")
    told = [row for row in rows if row["scenario"] in scenarios]
    equal({row["integrity"] for row in told}, {"1 messages lost or disordered"}, rows)
    equal(ran.returncode, 1, "exit status")


def nothing_installed(peer):
    # Servers are looked for at the time, libraries were when this was built.
    ran, (head,) = bench(peer, PATH="/nonexistent")
    equal(ran.returncode, 1, "exit status")
    equal("package" in head["absent"] and "missing" in head["absent"], True, head["absent"])


def processes_with(text):
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if text in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            pass  # gone meanwhile
    return found


def killed(name, program):
    with tempfile.TemporaryDirectory(prefix="peers-") as place:
        running = subprocess.Popen([BENCH, "peers", name, "--seconds", "30"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "SHMBUS_BENCH_DISK": place})
        wait_for(f"{program} to run", lambda: processes_with(place))
        running.kill()
        running.wait()
        wait_for(f"{program} to be gone", lambda: not processes_with(place))
        wait_for(f"the folder of {program} to be gone", lambda: not os.listdir(place))


def one_runs_already():
    with subprocess.Popen(["iox-roudi", "-m", "off"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as roudi:
        try:
            wait_for("RouDi to be ready", lambda: "ready" in roudi.stdout.readline())
            ran, (head,) = bench("iceoryx")
            equal(ran.returncode, 1, "exit status")
            equal(head["absent"], "a RouDi is running here already")
            equal(roudi.poll(), None, "RouDi's end")
            equal(os.path.exists("/dev/shm/iceoryx_mgmt"), True, "its memory")
        finally:
            roudi.terminate()


def main():
    if not BENCH.exists():
        checks.skip("peers", "shm-bench is not built")
        return
    if len(os.sched_getaffinity(0)) < 2:
        checks.skip("peers", "they need two cores")
        return
    present = {}
    for peer in bench()[1]:
        if peer["absent"]:
            checks.skip(f"{peer['peer']} carries everything", peer["absent"])
            continue
        present[peer["peer"]] = peer
        checks.check(f"{peer['peer']} carries everything", lambda peer=peer: short_round(peer))
    checks.check("bench/README.md says of each what it says of itself",
                 lambda: told_in_readme(present))
    checks.check("a message lost on its way through a pipe is noticed",
                 lambda: planted_loss("pipe", {"pingpong", "oneway", "fanout"}))
    if "SQLite WAL" in present:
        checks.check("a message that is not in the store is noticed",
                     lambda: planted_loss("SQLite WAL", {"durable"}))
    for name, program in (("Redis streams", "redis-server"), ("iceoryx", "iox-roudi")):
        if name not in present:
            continue
        checks.check(f"{name} without {program} is absent and says what is missing",
                     lambda name=name: nothing_installed(name))
        checks.check(f"a killed shm-bench leaves no {program} behind",
                     lambda name=name, program=program: killed(name, program))
    if "iceoryx" in present:
        checks.check("iceoryx is left out where a RouDi runs already", one_runs_already)
        left = [path for path in ("/dev/shm/iceoryx_mgmt", "/tmp/roudi") if os.path.exists(path)]
        checks.check("nothing of RouDi is left in memory", lambda: equal(left, []))


main()
checks.finish()
