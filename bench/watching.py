#!/usr/bin/env python3
"""What shm-top itself costs at ten looks a second, over buses of more and more endpoints.

usage: bench/watching.py [--build FOLDER] [--looks N] [ENDPOINTS...]

For each bus: processor time for a second of watching, of it in the kernel, and system calls for
one look, where strace is there. Both are differences of a long run and a short one, so that the
start of the program is in neither. The bus is idle but for messages that wait: what a look costs
follows what there is to see, not what happens meanwhile.

SPDX-License-Identifier: BSL-1.0
"""
import argparse
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HZ = 10


def watch(top, looks, environment):
    """Processor seconds of so many looks, drawn as the main screen is: in all, in the kernel."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([top, "-b", "-n", str(looks), "-d", str(1 / HZ)], env=environment, check=True,
                   stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    kernel = after.ru_stime - before.ru_stime
    return after.ru_utime - before.ru_utime + kernel, kernel


def calls(top, looks, environment):
    traced = subprocess.run(["strace", "-f", "-c", "-U", "calls,name", top, "-b", "-n", str(looks),
                             "-d", str(1 / HZ)], env=environment, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, check=True)
    return int(re.search(r"^\s*(\d+)\s+total$", traced.stderr, re.MULTILINE).group(1))


def measure(build, looks, endpoints):
    with tempfile.TemporaryDirectory(prefix="shmbus-watching-", dir="/dev/shm") as folder:
        os.chmod(folder, 0o700)
        environment = dict(os.environ, SHMBUS_DIR=folder, SHMBUS_BUS="watched",
                           SHMBUS_DAEMON=str(build / "tools/shmbusd"), SHMBUS_START_DAEMON="1")
        tool, top = str(build / "tools/shmbus"), str(build / "tools/top/shm-top")

        def run(*words, text=""):
            return subprocess.run([tool, *words], env=environment, input=text, text=True,
                                  check=True, stdout=subprocess.PIPE).stdout
        try:
            run("type", "add", "job", "command")
            names = [f"watched.{number:05}" for number in range(endpoints)]
            run("endpoint", "create", "--lane-bytes", "4096", *names)
            # One message in ten of the lanes, at most a hundred: as in use.
            for name in names[::10][:100]:
                run("send", "job", "--to", name, "--data", "waits")
            short, long = watch(top, 2, environment), watch(top, 2 + looks, environment)
            each = [(b - a) / looks for a, b in zip(short, long)]
            counted = "-"
            if shutil.which("strace"):
                counted = f"{(calls(top, 22, environment) - calls(top, 2, environment)) / 20:.0f}"
            print(f"{endpoints:>9}  {each[0] * 1e3:>9.2f} ms  {each[0] * HZ * 100:>7.2f} %  "
                  f"{each[1] / max(each[0], 1e-9) * 100:>6.0f} %  {counted:>12}", flush=True)
        finally:
            seen = subprocess.run([top, "-b", "-n", "1", "--json"], env=environment, text=True,
                                  stdout=subprocess.PIPE).stdout
            daemon = re.search(r'"daemon_pid":\s*(\d+)', seen)
            if daemon:
                os.kill(int(daemon.group(1)), signal.SIGTERM)


def main():
    line = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    line.add_argument("--looks", type=int, default=50)
    line.add_argument("endpoints", type=int, nargs="*", default=[1, 10, 100, 1000])
    chosen = line.parse_args()
    print(f"{'endpoints':>9}  {'a look':>12}  {'at 10 Hz':>9}  {'kernel':>8}  {'calls a look':>12}")
    for endpoints in chosen.endpoints:
        measure(chosen.build.resolve(), chosen.looks, endpoints)


if __name__ == "__main__":
    main()
