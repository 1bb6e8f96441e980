#!/usr/bin/env python3
"""shm-bench run: what it writes can be read by others, its page is one that a browser shows, a
planted loss fails it; compare tells a worse result from the same one.

Nothing here judges a figure: the runs are far too short to mean anything.

SPDX-License-Identifier: BSL-1.0
"""
import copy
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import pathlib
import xml.etree.ElementTree
import zlib

# Nothing is written beside the sources.
sys.dont_write_bytecode = True

from bus_stage import BUILD, ROOT, Checks, equal

# Debian's modules, also where another Python comes first.
sys.path.append("/usr/lib/python3/dist-packages")
BENCH = BUILD / "bench/shm-bench"
checks = Checks()


def bench(*words, **environment):
    return subprocess.run([BENCH, *map(str, words)], capture_output=True, text=True, check=False,
                          timeout=300, env={**os.environ, **environment})


def require(holds, why):
    if not holds:
        raise AssertionError(why)


def check_results(results):
    equal([hiccups["when"] for hiccups in results["hiccups"]], ["before", "during", "after"])
    equal([(group["scenario"], group["step"]) for group in results["groups"][:2]],
          [("pingpong", 0), ("rate", 10_000)])
    for group in results["groups"]:
        equal(group["rows"][0]["system"], "shmbus", "who stands first")
        require(len(group["rounds"]) >= 1, "no round")
        for row in group["rows"]:
            equal(row["integrity"], "ok", row["system"])
            equal(len(row["rounds"]), len(group["rounds"]), "rounds of " + row["system"])
            kept = [value for value in row["rounds"] if value is not None]
            equal(len(kept), row["rounds_kept"], "rounds kept of " + row["system"])
            if kept:
                require(row["figure"]["min"] == min(kept) and row["figure"]["max"] == max(kept),
                        f"{row['figure']} of {kept}")
        for one in group["rounds"]:
            equal(sorted(one["order"]), sorted(row["name"] for row in group["rows"]), "the order")
            equal(one["placement"], "near" if one["probe_ns"] < 250 else "far", "placement")
        for one, other in zip(group["rounds"], group["rounds"][1:]):
            require(one["order"] != other["order"], f"two rounds in the order {one['order']}")


def check_schema(results):
    import jsonschema
    schema = json.loads((ROOT / "bench/run/results.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(results)
    # It can tell.
    broken = copy.deepcopy(results)
    del broken["groups"][0]["rows"][0]["integrity"]
    require(not validator.is_valid(broken), "a missing field is not noticed")


def check_csv(folder, results):
    rows = list(csv.DictReader((folder / "results.csv").open()))
    equal(len(rows), sum(len(row["rounds"]) for group in results["groups"]
                         for row in group["rows"]), "lines")
    for row in rows:
        require(row["value"] == "" or float(row["value"]) > 0, row)
        equal(row["unit"], "per_s" if row["figure"] == "rate" else "ns")


def check_hgrm(folder, results):
    files = sorted(folder.glob("*.hgrm"))
    series = [row[kind] for group in results["groups"] for row in group["rows"]
              for kind in ("latency", "uncorrected") if row[kind]["buckets"]]
    equal(len(files), len(series), "files")
    counts = []
    for path in files:
        head, *lines = path.read_text().splitlines()
        equal(head.split(), ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"], path.name)
        rows = [[float(word) for word in line.split()] for line in lines
                if line.strip() and not line.startswith("#")]
        require(rows == sorted(rows) and rows[-1][1] == 1.0, f"{path.name} does not rise to 1")
        for _, share, _, inverse in rows[:-1]:
            require(abs(1 / (1 - share) - inverse) <= 0.01 * inverse, path.name)
        counts.append(int(re.search(r"Total count *= *(\d+)\]", path.read_text()).group(1)))
        equal(int(rows[-1][2]), counts[-1], path.name)
    equal(sorted(counts), sorted(sum(count for _, count in one["buckets"]) for one in series))


def check_page(folder, results):
    text = (folder / "report.html").read_text()
    tree = xml.etree.ElementTree.fromstring(text)
    require("<script" not in text and "http" not in text.replace("http-equiv", ""),
            "the page is not self-contained")
    words = " ".join(tree.itertext())
    for system in results["systems"]:
        require(system["name"] in words, f"the page does not name {system['name']}")
        require((system["absent"] or "") in words, f"why {system['name']} is absent")
    for picture in tree.iter("svg"):
        _, _, width, height = map(float, picture.get("viewBox").split())
        for line in picture.iter("polyline"):
            for point in line.get("points").split():
                across, down = map(float, point.split(","))
                require(0 <= across <= width and 0 <= down <= height,
                        f"{point} is outside of its picture: {picture.find('title').text}")


def made_up(results, times_worse=1.0):
    """A result with a figure in every row, whatever this machine could measure."""
    changed = copy.deepcopy(results)
    for group in changed["groups"]:
        for row in group["rows"]:
            value = 1000 * (times_worse if row["role"] == "ours" else 1)
            if group["figure"] == "rate":
                value = 1e6 / value
            row["figure"] = {"min": value, "median": value, "max": value}
            row["ratio"] = {name: value / 1000 for name in row["figure"]}
    return changed


def check_compare(folder, results):
    for name, thing in (("a", made_up(results)), ("worse", made_up(results, 1.5)),
                        ("void", made_up(results)), ("other", {**results, "groups": []}),
                        ("newer", {**results, "version": 2})):
        if name == "void":
            thing["groups"][0]["rows"][0]["integrity"] = "3 messages lost"
        (folder / name).write_text(json.dumps(thing))

    def compared(before, after, *words):
        return bench("compare", folder / before, folder / after, *words)
    equal(compared("a", "a").returncode, 0, "with itself")
    worse = compared("a", "worse")
    equal(worse.returncode, 1, worse.stdout + worse.stderr)
    require("50.0 % worse  PAST THE THRESHOLD" in worse.stdout, worse.stdout)
    equal(compared("worse", "a").returncode, 0, "a better one")
    equal(compared("a", "worse", "--threshold", 60).returncode, 0, "within the threshold")
    equal(compared("a", "void").returncode, 1, "a void one")
    equal(compared("a", "other").returncode, 2, "nothing in common")
    newer = compared("a", "newer")
    require(newer.returncode == 1 and "shmbus.bench-results 1" in newer.stderr, newer.stderr)


def check_loss(folder, before):
    ran = bench("run", "--quick", "--seconds", 1, "--out", folder, "--against", before, "pingpong",
                SHMBUS_BENCH_LOSE="1")
    equal(ran.returncode, 1, ran.stdout + ran.stderr)
    require("1 messages lost" in ran.stderr, ran.stderr)
    results = json.loads((folder / "results.json").read_text())
    ours = results["groups"][0]["rows"][0]
    require(ours["figure"] is None and "lost" in ours["integrity"], ours["integrity"])
    page = (folder / "report.html").read_text()
    require("VOID" in page and "Before and after" in page, "the page does not say so")


def check_quiet_shell():
    ran = bench("request", "--seconds", 1, SHMBUS_LOG="off")
    require("no daemon named" not in ran.stderr, ran.stderr)


def check_fairness(folder):
    """Started under a real-time class it says why not. As the kernel lets us: see main."""
    command = ["chrt", "-r", "1", BENCH, "run", "--quick", "--seconds", "2", "--out", folder]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    require(ran.returncode != 0, "it has ended well")
    require("start it without chrt" in ran.stderr, ran.stderr)
    require(not folder.exists(), "it has begun")


def first_pixel(png):
    """Of a PNG of eight-bit colours; its first pixel has no neighbour to be filtered by."""
    data = b""
    at = 8
    while at < len(png):
        length = int.from_bytes(png[at:at + 4], "big")
        if png[at + 4:at + 8] == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += 12 + length
    return tuple(zlib.decompress(data)[1:4])


def check_browser(folder, browser):
    pixels = {}
    for name, words in (("light", []), ("dark", ["--force-dark-mode",
                                                 "--blink-settings=preferredColorScheme=0"])):
        picture = folder / f"{name}.png"
        subprocess.run([browser, "--headless=new", "--no-sandbox", "--disable-gpu",
                        "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}",
                        "--window-size=1200,3000", f"--screenshot={picture}", *words,
                        (folder / "report.html").as_uri()],
                       capture_output=True, check=True, timeout=120)
        png = picture.read_bytes()
        require(len(png) > 50_000, f"{name}: {len(png)} bytes can be no page with charts")
        pixels[name] = first_pixel(png)
    require(min(pixels["light"]) > 200 and max(pixels["dark"]) < 60, f"papers: {pixels}")


def main():
    if not BENCH.exists():
        checks.skip("shm-bench run", "it is not built")
        return
    if len(os.sched_getaffinity(0)) < 2:
        checks.skip("shm-bench run", "it needs two cores")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place) / "run"
        ran = bench("run", "--quick", "--seconds", 2, "--out", folder, "pingpong", "rate")
        if ran.returncode != 0:
            checks.check("a short run ends well", lambda: require(False, ran.stdout + ran.stderr))
            return
        results = json.loads((folder / "results.json").read_text())
        checks.check("a short run writes its results, every round in another order",
                     lambda: check_results(results))
        try:
            import jsonschema  # noqa: F401
            checks.check("results.json is as its schema says", lambda: check_schema(results))
        except ImportError:
            checks.skip("results.json is as its schema says", "there is no python3-jsonschema")
        checks.check("results.csv has a line for each round", lambda: check_csv(folder, results))
        checks.check("each latency has a percentile table", lambda: check_hgrm(folder, results))
        checks.check("the page is well-formed and needs nothing else",
                     lambda: check_page(folder, results))
        checks.check("compare tells a worse result, a void one and one of another kind",
                     lambda: check_compare(folder, results))
        checks.check("a planted loss voids the figures and fails the run",
                     lambda: check_loss(folder.with_name("loss"), folder / "a"))
        checks.check("a bus is measured, however little its daemon may log", check_quiet_shell)
        may = subprocess.run(["chrt", "-r", "1", "true"], capture_output=True, check=False)
        if may.returncode == 0:
            checks.check("a run under a real-time class is refused",
                         lambda: check_fairness(folder.with_name("real-time")))
        else:
            checks.skip("a run under a real-time class is refused", "it may not be asked for here")
        browser = shutil.which("chromium") or shutil.which("chromium-browser")
        if browser:
            checks.check("a browser shows the page, light and dark",
                         lambda: check_browser(folder, browser))
        else:
            checks.skip("a browser shows the page, light and dark", "there is no chromium")


main()
checks.finish()
