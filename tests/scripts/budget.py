#!/usr/bin/env python3
"""What a message costs in counts: at most five per cent over bench/budget.json, no system call.

Batches follow the pace of time, which callgrind changes, so counts differ a little from run to run:
the best of five decides.

SPDX-License-Identifier: BSL-1.0
"""
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("SHMBUS_SOURCE_ROOT", "."))
BUILD = pathlib.Path(os.environ.get("SHMBUS_BUILD_ROOT", "build"))
MARGIN = 1.05


def profile(scenario):
    ran = subprocess.run([BUILD / "bench" / "shm-bench", "profile", scenario, "--callgrind", "--json"],
                         capture_output=True, text=True)
    if ran.returncode != 0:
        print(f"not ok the profile of {scenario} can be taken")
        print(ran.stdout + ran.stderr)
        sys.exit(1)
    return json.loads(ran.stdout)


def is_comparable():
    for tool in ("valgrind", "strace", "readelf"):
        if not shutil.which(tool):
            return f"{tool} is missing"
    library = BUILD / "src" / "libshmbus.so"
    made_by = subprocess.run(["readelf", "-p", ".comment", str(library)], capture_output=True,
                             text=True).stdout
    if platform.machine() != "x86_64" or ") 12." not in made_by or "clang" in made_by:
        return "the budget is of g++ 12 on x86_64"
    options = {option["name"]: option["value"] for option in
               json.loads((BUILD / "meson-info" / "intro-buildoptions.json").read_text())}
    if options["buildtype"] != "release" or options["b_sanitize"] != "none":
        return "the budget is of a release build"
    return ""


def main():
    if reason := is_comparable():
        print(f"skip instructions of a message: {reason}")
        return 0
    budget = json.loads((ROOT / "bench" / "budget.json").read_text())["instructions"]
    bad = 0
    for scenario, allowed in budget.items():
        seen = []
        calls = 1.0
        while len(seen) < 5 and (not seen or min(seen) > allowed * MARGIN):
            counts = profile(scenario)
            seen.append(counts["instructions"])
            calls = min(calls, counts["system_calls"])
        holds = min(seen) <= allowed * MARGIN
        print(f"{'ok' if holds else 'not ok'} a message of {scenario} costs {min(seen):.0f} "
              f"instructions, its budget is {allowed}")
        quiet = calls < 0.01
        print(f"{'ok' if quiet else 'not ok'} a message of {scenario} costs no system call ({calls:.4f})")
        bad += (not holds) + (not quiet)
        if not holds:
            print(f"seen: {seen}; find what grew with callgrind_annotate, or say in the commit why "
                  "it is worth it and raise bench/budget.json")
    return 1 if bad else 0


sys.exit(main())
