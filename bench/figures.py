#!/usr/bin/env python3
"""Measures every scenario and writes the table of figures into README.md.

usage: bench/figures.py [--build FOLDER] [--seconds S] [--keep]
       bench/figures.py --from RESULTS.JSON [--keep]

Prints what it measured as it goes. With --from nothing is measured: the table is that of a run of
shm-bench, the other systems in it. With --keep the table goes to standard output and README.md
stays as it is. A scenario whose integrity is not ok, or that kept no round, ends it with status 1.
"""
import argparse
import datetime
import json
import pathlib
import platform
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCENARIOS = ["limit", "pingpong", "oneway", "manytoone", "fanout", "wakeup", "redelivery", "idlelanes", "metrics-cost",
             "durable", "recovery"]
ON_DISK = {"durable", "recovery"}  # get three times as long: disks are slower
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


def measure(program, scenario, seconds):
    if seconds and scenario in ON_DISK:
        seconds *= 3
    command = [str(program), scenario, "--json"] + (["--seconds", str(seconds)] if seconds else [])
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with status {answer.returncode}")
    return [json.loads(line) for line in answer.stdout.splitlines() if line.strip()]


def span(ns):
    if ns is None:
        return "-"
    return f"{ns:.0f} ns" if ns < 10_000 else f"{ns / 1000:.1f} us" if ns < 1e7 else f"{ns / 1e6:.1f} ms"


def rate(per_second):
    if not per_second:
        return "-"
    for unit, size in (("M/s", 1e6), ("k/s", 1e3)):
        if per_second >= size:
            return f"{per_second / size:.1f} {unit}"
    return f"{per_second:.1f} /s"


def row(line):
    ratio = line.get("ratio")
    ratios = (f"{ratio['min']:.2f} / **{ratio['median']:.2f}** / {ratio['max']:.2f}"
              if ratio and line["scenario"] != "limit" else "-")
    return (f"| {line['scenario']}, {line['variant']} | {line['bytes']} | {line['placement']} "
            f"| {span(line['p50_ns'])} | {span(line['p99_ns'])} | {rate(line['rate_per_s'])} "
            f"| {ratios} |")


def size(count):
    for unit, bytes_in_it in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= bytes_in_it:
            return f"{count // bytes_in_it} {unit}"
    return f"{count} B" if count else "-"


def run_row(group):
    """A comparison of a run: ours, beside its limit and beside the best of the others."""
    show = rate if group["figure"] == "rate" else span
    ours = group["rows"][0]
    if not ours["figure"]:
        return f"| {group['scenario']}, {group['variant']} | {size(group['bytes'])} | - | no steady round | - | - | - |"
    peers = [row for row in group["rows"]
             if row["role"] == "peer" and row["figure"] and not row["mark"]]
    best = (max if group["figure"] == "rate" else min)(
        peers, key=lambda row: row["figure"]["median"], default=None)
    other, lead = "-", "-"
    if best:
        factor = best["figure"]["median"] / ours["figure"]["median"]
        factor = 1 / factor if group["figure"] == "rate" else factor
        other = f"{best['system']}, {show(best['figure']['median'])}"
        lead = f"{factor:.1f} x ahead" if factor >= 1 else f"**{1 / factor:.1f} x behind**"
    has_limit = len(group["rows"]) > 1 and group["rows"][1]["role"] == "limit"
    ratio = ours["ratio"]
    ratios = (f"{ratio['min']:.2f} / **{ratio['median']:.2f}** / {ratio['max']:.2f}"
              if has_limit else "-")
    return (f"| {group['scenario']}, {group['variant']} | {size(group['bytes'])} "
            f"| {group['placement']} | {show(ours['figure']['median'])} | {ratios} | {other} "
            f"| {lead} |")


def table_of_run(path):
    results = json.loads(pathlib.Path(path).read_text())
    void = [f"{group['scenario']}, {group['variant']}, {row['system']}: {row['integrity']}"
            for group in results["groups"] for row in group["rows"] if row["integrity"] != "ok"]
    if void:
        sys.exit("not written:\n" + "\n".join(void))
    command = re.sub(r" --out \S+", "", results["command"])
    there = results["environment"]
    absent = [f"{system['name']} ({system['absent']})" for system in results["systems"]
              if system["absent"]]
    head = [f"Measured by `{command}` on {results['began'][:10]}, {there['cpu']}, "
            f"{there['kernel'].split('-')[0]},",
            f"{there['cores']} virtual cores. Figures are medians of the rounds kept; ratio: ours over the limit of the",
            "same round (min / **median** / max), below 1 is better for times, above for rates. *near* and",
            "*far* say how the two cores lay to each other. What the other systems promise, how they are",
            "set up and all of their figures are on the page of the run."]
    if absent:
        head.append("Not measured: " + "; ".join(absent) + ".")
    return head + ["", "| measured | size | cores | shmbus | ratio to the limit | best other system | shmbus is |",
                   "|---|---|---|---|---|---|---|"] + [
        run_row(group) for group in results["groups"] if group["rows"][0]["role"] == "ours"]


def write_readme(table):
    readme = ROOT / "README.md"
    text = readme.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    readme.write_text(text[:begin] + "\n" + "\n".join(table) + "\n" + text[end:])


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, Linux {platform.release().split('-')[0]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--from", dest="results")
    options = parser.parse_args()
    if options.results:
        table = table_of_run(options.results)
        print("\n".join(table))
        if not options.keep:
            write_readme(table)
        return
    program = pathlib.Path(options.build) / "bench" / "shm-bench"
    command = "bench/figures.py" + (f" --seconds {options.seconds:g}" if options.seconds else "")
    table = [f"Measured by `{command}` on {datetime.date.today()}, {machine()}, two virtual",
             "cores. Ratio: ours over the limit named in the same run (min / **median** / max of the rounds",
             "kept); below 1 is better for times, above for rates. *near* and *far* say how the two cores",
             "lay to each other when that line was measured.", "",
             "| scenario | bytes | cores | p50 | p99 | rate | ratio |", "|---|---|---|---|---|---|---|"]
    wrong = []
    for scenario in SCENARIOS:
        for line in measure(program, scenario, options.seconds):
            table.append(row(line))
            print(table[-1], flush=True)
            if line["integrity"] != "ok" or not line["rounds_kept"]:
                wrong.append(f"{line['scenario']}, {line['variant']}: {line['integrity']}, "
                             f"{line['rounds_kept']} rounds kept")
    if wrong:
        sys.exit("not written:\n" + "\n".join(wrong))
    if not options.keep:
        write_readme(table)


main()
