#!/usr/bin/env python3
"""shm-top on a bus with known traffic: its figures are the ledger's, on every way out; it writes
nothing; it works with everybody dead and on a copy; the terminal is left as it was found.

SPDX-License-Identifier: BSL-1.0
"""
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

# Nothing is written beside the sources.
sys.dont_write_bytecode = True

from bus_stage import BUILD, ROOT, TOP, TRAFFIC, Checks, Stage, equal, wait_for

SHMBUS = BUILD / "tools/shmbus"
SCHEMA = ROOT / "tools/look/schemas/shmbus.top-1.json"
checks = Checks()
# Debian's modules, also where another Python comes first.
sys.path.append("/usr/lib/python3/dist-packages")


def snapshot(stage, *words):
    made = stage.top("--json", "-n", "1", *words)
    equal(made.returncode, 0, made.stderr)
    return json.loads(made.stdout)


def copy_bus(stage, to):
    """With the holes of inboxes left as holes: they may be more than there is memory."""
    def copy_file(one, other):
        subprocess.run(["cp", "--sparse=always", one, other], check=True)
    shutil.copytree(stage.bus, to, ignore=shutil.ignore_patterns("control.sock"),
                    copy_function=copy_file)


def named(things, name):
    found = [thing for thing in things if thing["name"] == name]
    equal(len(found), 1, f"how many are called {name}")
    return found[0]


def make_traffic(stage):
    """What is sent and handled here is the ledger that all below is compared with."""
    shop = stage.actor("shop")
    for endpoint in ("sales", "billing", "books", "narrow 4096"):
        shop.say(f"open {endpoint}", "opened")
    web = stage.actor("web")
    web.say("hold 1", "sent 1")
    clerk = stage.actor("clerk")
    clerk.say("open sales", "opened")
    clerk.say("run sales 0")
    clerk.say("holding sales")
    web.say("send 1000", "sent 1000")
    shop.say("handle sales 400", "handled 400")
    web.say("durable 30", "sent 30")
    shop.say("handle books 10", "handled 10")
    web.say("block", "blocks")
    wait_for("a full lane", lambda: named(snapshot(stage)["endpoints"], "narrow")["lanes"] and any(
        lane["wants_room"] for lane in named(snapshot(stage)["endpoints"], "narrow")["lanes"]))
    return shop, web, clerk


def check_ledger(seen, are_dead=False):
    sales = named(seen["endpoints"], "sales")
    for field, wanted in {"received_total": 1001, "settled_total": 400, "depth": 601,
                          "waiting": 600, "in_hand": 1}.items():
        equal(sales[field], wanted, f"sales {field}")
    equal(sales["handled_total"], {"shop.order": 400}, "handled by type")
    equal(list(sales["times_by_type"]), ["shop.order"], "timed by type")
    for what in ("processing_ns", "critical_ns", "wait_ns"):
        equal(sales["times_by_type"]["shop.order"][what], sales[what], f"{what} of its one type")
        equal([lane[what] for lane in sales["lanes"]], [sales[what]], f"{what} of its one lane")
    equal(len(sales["hands"]), 1, "hands that hold")
    equal(sales["hands"][0]["process"], "clerk", "who holds it")
    equal((sales["hands"][0]["messages"], sales["hands"][0]["done"]), (1, 0), "what it holds")
    billing = named(seen["endpoints"], "billing")
    equal((billing["depth"], billing["received_total"]), (400, 400), "billing")
    books = named(seen["endpoints"], "books")
    equal((books["received_total"], books["settled_total"], books["depth"]), (30, 10, 20), "books")
    narrow = named(seen["endpoints"], "narrow")
    equal((narrow["depth"], narrow["fill"]), (64, 1.0), "narrow")
    equal(named(seen["types"], "shop.order")["handled_total"], 400, "orders")
    equal(named(seen["types"], "shop.invoice")["durable"], True, "invoices are durable")
    # 1 and 1000 orders, 64 that fill "narrow", 30 invoices.
    equal(named(seen["processes"], "web")["sent_in_lanes"], 1095, "sent by web")
    equal(seen["journal"]["lag_messages"], 0, "lag of the journal")
    for name in ("web", "shop", "clerk"):
        equal(named(seen["processes"], name)["life"], "dead" if are_dead else "alive", name)
    equal(seen["bus"]["daemon"], "dead" if are_dead else "alive", "daemon")


def check_pids(stage, seen):
    for actor in stage.actors:
        equal(named(seen["processes"], actor.name)["pid"], actor.pid, actor.name)
    equal(seen["bus"]["daemon_pid"], stage.daemon.pid, "daemon")


def check_schema(stage):
    try:
        import jsonschema
    except ImportError:
        checks.skip("JSON is what its schema says", "there is no python3-jsonschema")
        return

    def validate():
        validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
        lines = stage.top("--json", "-n", "2", "-d", "0.1").stdout.splitlines()
        equal(len(lines), 2, "one object a line")
        for line in lines:
            validator.validate(json.loads(line))
        bare = json.loads(lines[1])
        line = stage.top("--json", "-n", "1", "--totals").stdout
        whole = json.loads(line)
        validator.validate(whole)
        equal({**bare["totals"], **whole["totals"]}.keys(), whole["totals"].keys(), "more fields")
        ours = [one for one in whole["endpoints"] if one["kind"] != "journal"]
        for name, value in whole["totals"].items():
            if name.endswith("_total"):
                equal(value, sum(one[name] for one in ours), name)
        equal(sum(name.endswith("_total") for name in whole["totals"]), 14, "totals")
        # The schema itself can tell: a field too many, a field renamed.
        broken = json.loads(lines[1])
        broken["endpoints"][0]["depht"] = broken["endpoints"][0].pop("depth")
        equal(validator.is_valid(broken), False, "a renamed field is noticed")
    checks.check("JSON is what its schema says", validate)


def check_failures(stage):
    """One that its handler throws at lies in the error endpoint, and says why."""
    shop = stage.actor("shop")
    shop.say("open sales", "opened")
    stage.actor("web").say("fail 1", "sent 1")
    shop.say("run sales 0")
    error = wait_for("the failed message", lambda: next(
        (one for one in snapshot(stage)["endpoints"] if one["name"] == "error" and one["depth"]),
        None))
    equal((error["depth"], error["kind"]), (1, "error"), "error endpoint")
    sales = named(snapshot(stage)["endpoints"], "sales")
    equal((sales["failed_total"], sales["threw_total"]), (1, 5), "failed, threw")
    screen = stage.screen(80, 24, " ".join(stage.top_words("-d", "0.2", "--endpoint", "error")))
    screen.waits_for("depth 1")
    screen.press("m")
    screen.waits_for("handler_threw at sales, 5 attempts: this order cannot be handled",
                     "number=1 how=1")
    # The id that stands there is one that the command takes.
    number = re.search(r"^id ([0-9a-f]{32})  ", screen.text(), re.MULTILINE).group(1)
    told = subprocess.run([SHMBUS, "--bus", stage.bus, "failed", "show", number],
                          capture_output=True, text=True, check=False)
    equal((told.returncode, told.stderr), (0, ""), "shmbus failed show")
    assert number in told.stdout and "cannot be handled" in told.stdout, told.stdout
    screen.press("q")


def check_script_text(stage):
    """What a script sends has ends of lines in it; it is text all the same."""
    def shmbus(*words, said=""):
        made = subprocess.run([SHMBUS, "--bus", stage.bus, *words], input=said, text=True,
                              capture_output=True, check=False)
        equal((made.returncode, made.stderr), (0, ""), " ".join(words))
    shmbus("type", "add", "note", "command")
    shmbus("endpoint", "create", "notes", "--handles", "note")
    shmbus("send", "note", said='{\n\t"a": 1\n}\n')
    shmbus("send", "note", said="\x1b[31mred\n")
    shmbus("send", "note", said="Gr\u00fc\u00dfe \u2192 \u0437\u0434\u0435\u0441\u044c \u65e5\u672c\n")
    shmbus("send", "note", said="\u20ac" * 100)
    command = " ".join(stage.top_words("-d", "0.2", "--endpoint", "notes"))
    # The last two take two columns each.
    for locale, greeting in (
            ("C.UTF-8", "Gr\u00fc\u00dfe \u2192 \u0437\u0434\u0435\u0441\u044c \u65e5\u672c"),
            ("C", "Gr??e ? ????? ??")):
        screen = stage.screen(80, 24, command, {"LC_ALL": locale})
        screen.waits_for("depth 4")
        screen.press("m")
        screen.waits_for('{  "a": 1 }', "1b5b33316d7265640a", greeting)
        # Of a long one 256 bytes are shown, as whole characters: here 85, in two lines.
        screen.press("G")
        rest = ("?" if locale == "C" else "\u20ac") * 5
        wait_for("the end of the long one", lambda: rest in [
            line.strip() for line in screen.text().splitlines()])
        screen.press("q")


def check_save_that_fails(stage):
    """Where nothing can be written, not even by root, the screen says why and where."""
    screen = stage.screen(120, 24, "sh -c 'cd /sys && exec " + " ".join(stage.top_words()) + "'")
    screen.waits_for("Endpoints")
    screen.press("w")
    shown = screen.waits_for("cannot write")
    assert re.search("cannot write: (Permission denied|Read-only file system): /sys/shm-top-.*json",
                     shown), shown
    screen.press("q")


def check_lag(stage, web):
    """While the daemon is stopped, what is sent durably is not on disk, and that is shown."""
    os.kill(stage.daemon.pid, signal.SIGSTOP)
    try:
        web.say("late 5", "sent 5")
        seen = snapshot(stage)
        equal(seen["bus"]["daemon_is_stopped"], True, "the daemon is stopped")
        equal(seen["journal"]["lag_messages"], 5, "lag")
        equal(named(seen["endpoints"], "books")["journal_lag"], 5, "lag of books")
        assert "STOPPED" in stage.top("-b", "-n", "1").stdout
    finally:
        os.kill(stage.daemon.pid, signal.SIGCONT)
    wait_for("the disk", lambda: snapshot(stage)["journal"]["lag_messages"] == 0)
    seen = snapshot(stage)
    equal(named(seen["endpoints"], "books")["received_total"], 35, "books")
    equal(seen["journal"]["batch_records"]["count"], seen["journal"]["sync_ns"]["count"], "batches")
    assert seen["journal"]["written_bytes_total"] > 35 * 16, seen["journal"]
    # Told nothing, it finds the journal that the daemon has open.
    found = subprocess.run([SHMBUS, "--bus", stage.bus, "metrics"], capture_output=True, text=True,
                           check=False).stdout
    assert re.search(r"shmbus_journal_segments{[^}]*} [1-9]", found), found


def check_rates(stage, web, shop):
    """However many looks the traffic falls into, their intervals make up the whole."""
    def sales_in(seen):
        return named(seen["endpoints"], "sales")

    def timed(times):
        return {what: times[what]["count"] if times[what] else 0
                for what in ("processing_ns", "critical_ns", "wait_ns")}

    top = subprocess.Popen(stage.top_words("--json", "-d", "0.2"), stdout=subprocess.PIPE,
                           text=True)
    looks = [json.loads(top.stdout.readline())]
    web.say("send 100", "sent 100")
    shop.say("handle sales 400", "handled 800")
    while sales_in(looks[-1])["settled_total"] < 800:
        looks.append(json.loads(top.stdout.readline()))
    top.terminate()
    top.wait()
    top.stdout.close()
    first, last = looks[0], looks[-1]
    equal(first["interval_ns"], None, "a first look has no rates")
    sent = sum(sales_in(seen)["interval"]["in_per_s"] * seen["interval_ns"] / 1e9
               for seen in looks[1:])
    equal(round(sent), 100, "messages by the rate")
    equal(sales_in(last)["received_total"] - sales_in(first)["received_total"], 100)
    for name, times_in in {
            "its one type": lambda seen: named(seen["types"], "shop.order"),
            "its one lane": lambda seen: sales_in(seen)["lanes"][0],
            "the endpoint": sales_in}.items():
        equal(set(timed(times_in(first)["interval"]).values()), {0}, f"a first look at {name}")
        for what, count in timed(times_in(last)).items():
            came = sum(timed(times_in(seen)["interval"])[what] for seen in looks)
            equal(came, count - timed(times_in(first))[what], f"{what} of {name}")
    assert timed(sales_in(last))["processing_ns"] > timed(sales_in(first))["processing_ns"], last


def check_text(stage):
    # Its sender waits a millisecond at a time; between two of them it does not wait for a moment.
    for _ in range(20):
        said = stage.top("-b", "-n", "1", "-t").stdout
        rows = {words[2]: words for words in (line.split() for line in said.splitlines())
                if len(words) > 4}
        if rows["narrow"][1] == "B":
            break
    equal(rows["sales"][4], "601", "depth of sales in the text")
    equal(rows["narrow"][1], "B", "state of narrow")
    assert re.match(r"\d\d:\d\d:\d\d ", said), said
    assert "\x1b" not in said
    order = stage.top("-b", "-n", "1", "-q", "-o", "-depth").stdout.splitlines()
    depths = [int(line.split()[3]) for line in order]
    assert depths == sorted(depths) and depths[-1] == 601, order
    equal(stage.top("-b", "-n", "1", "-q", "--sort", "depth:r").stdout.splitlines()[-1].split()[1],
          "sales", "the deepest, the other way round")
    quiet = stage.top("-b", "-n", "1", "-q", env={**os.environ, "LC_ALL": "C"}).stdout
    assert quiet.isascii() and "ENDPOINT" not in quiet, quiet
    table = [line.split(",") for line in stage.top("--csv", "-n", "1").stdout.splitlines()]
    row = next(row for row in table if row[3] == '"sales"')
    equal(row[table[0].index("depth")], "601", "depth in CSV")
    equal(row[table[0].index("settled_total")], "400", "settled in CSV")
    table = [line.split(",") for line in
             stage.top("--csv", "-n", "1", "--totals").stdout.splitlines()]
    row = next(row for row in table if row[3] == '"sales"')
    equal(row[table[0].index("taken_bytes_total")], str(401 * 64), "bytes taken in CSV")


def check_metrics(stage):
    said = stage.top("--openmetrics").stdout
    check_parsed(said, "OpenMetrics of shm-top")
    assert said.endswith("# EOF\n"), said[-80:]


def check_parsed(said, name):
    """Read by the parser of those who will read it; the figures are the ledger's."""
    try:
        from prometheus_client.openmetrics import parser as openmetrics
        from prometheus_client import parser as prometheus
    except ImportError:
        checks.skip(name, "there is no python3-prometheus-client")
        return
    parser = openmetrics if said.endswith("# EOF\n") else prometheus

    def parse():
        values = {}
        for family in parser.text_string_to_metric_families(said):
            assert family.documentation, family.name
            for sample in family.samples:
                equal(sample.labels["bus"], "shop", sample.name)
                if "le" not in sample.labels and "lane" not in sample.labels:
                    values[sample.name, sample.labels.get("endpoint")] = sample.value
                elif "le" in sample.labels:
                    values[sample.name, sample.labels.get("endpoint"), sample.labels["le"]] = (
                        sample.value)
        equal(values["shmbus_endpoint_depth", "sales"], 601)
        equal(values["shmbus_endpoint_in_hand", "sales"], 1)
        equal(values["shmbus_endpoint_settled_total", "sales"], 400)
        equal(values["shmbus_endpoint_handled_total", "sales"], 400)
        equal(values["shmbus_endpoint_fill_ratio", "narrow"], 1)
        equal(values["shmbus_daemon_up", None], 1)
        equal(values["shmbus_journal_lag_messages", None], 0)
        # A histogram agrees with itself: nothing took longer than a minute.
        for border in ("+Inf", "60.0"):
            equal(values["shmbus_endpoint_processing_seconds_bucket", "sales", border],
                  values["shmbus_endpoint_processing_seconds_count", "sales"], border)
        equal(values["shmbus_endpoint_type_processing_seconds_count", "sales"],
              values["shmbus_endpoint_processing_seconds_count", "sales"], "of its one type")
    checks.check(f"{name} is what its parser reads, with the ledger's figures", parse)


def metrics_words(stage, *words):
    return [str(SHMBUS), "--bus", str(stage.bus), "metrics", "--journal", str(stage.journal), *words]


def promtool_or_why(folder):
    """Its path, or None and why there is none. Unpacked and not installed: the package would start
    a server."""
    path = shutil.which("promtool")
    if path:
        return path, ""
    try:
        made = subprocess.run(["sh", "-c", "apt-get download prometheus && dpkg --fsys-tarfile "
                               "prometheus_*.deb | tar -x ./usr/bin/promtool"], cwd=folder,
                              capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return None, "apt-get download takes longer than two minutes"
    path = pathlib.Path(folder, "usr/bin/promtool")
    said = (made.stderr or made.stdout).strip().splitlines()
    return (str(path), "") if path.exists() else (
        None, f"no promtool, and apt-get download said: {said[-1] if said else 'nothing'}")


def check_promtool(text):
    name = "promtool finds nothing wrong with the metrics"
    with tempfile.TemporaryDirectory(prefix="shmbus-promtool-") as folder:
        promtool, why = promtool_or_why(folder)
        if not promtool:
            checks.skip(name, why)
            return

        def check(metrics):
            made = subprocess.run([promtool, "check", "metrics"], input=metrics,
                                  capture_output=True, text=True, check=False)
            return made.returncode, made.stdout + made.stderr

        def lint():
            equal(check(text), (0, ""))
            # It can tell: a counter that goes by another name.
            bad = text.replace("shmbus_endpoint_settled_total", "shmbus_endpoint_settled")
            equal(check(bad)[0] != 0, True, "a bad name is noticed")
        checks.check(name, lint)


def check_dashboard(text):
    families = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    dashboard = json.loads((ROOT / "tools/grafana/shmbus.json").read_text())
    used = {name for panel in dashboard["panels"] for target in panel["targets"]
            for name in re.findall(r"shmbus_[a-z_]+", target["expr"])}
    assert len(used) > 15, used
    for name in used:
        assert re.sub("_bucket$", "", name) in families, f"{name} is not among {families}"
    times = set(re.findall(r"^# TYPE (\S+_seconds) histogram$", text, re.MULTILINE))
    assert len(times) > 9, times
    missing = {name for name in times if f"{name}_bucket" not in used}
    assert not missing, f"no panel shows {missing}"
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
    equal(len(set(places)), len(places), "panels have places of their own")


def fetch(url, accept="*/*", method="GET"):
    """Asked again when the machine was so busy that the server took this for a silent client."""
    asked = urllib.request.Request(url, headers={"Accept": accept}, method=method)
    for _ in range(10):
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.headers["Content-Type"], answer.read().decode()
        except (ConnectionError, http.client.RemoteDisconnected):
            continue
    raise AssertionError(f"no answer from {url}")


def check_served(stage):
    refused = subprocess.run(metrics_words(stage, "--listen", "0.0.0.0:0"), capture_output=True,
                             text=True, timeout=60, check=False)
    assert refused.returncode != 0 and "127.0.0.1" in refused.stderr, refused.stderr
    server = subprocess.Popen(metrics_words(stage, "--listen", "127.0.0.1:0"),
                              stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r"port (\d+)", server.stdout.readline()).group(1))
        url = f"http://127.0.0.1:{port}"
        # Connected first and silent: others are not kept waiting for ever.
        silent = socket.create_connection(("127.0.0.1", port))
        kind, old = fetch(f"{url}/metrics")
        equal(kind, "text/plain; version=0.0.4; charset=utf-8")
        silent.close()
        kind, new = fetch(f"{url}/metrics",
                          "application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
        assert kind.startswith("application/openmetrics-text"), kind
        for path, method, status in (("/", "GET", 404), ("/metrics", "POST", 405)):
            try:
                fetch(url + path, method=method)
                raise AssertionError(f"{method} {path} was answered")
            except urllib.error.HTTPError as error:
                equal(error.code, status, f"{method} {path}")
        for text in (old, new):
            assert re.search(r'shmbus_endpoint_depth{[^}]*endpoint="sales"[^}]*} 601\n', text), text
        # Bound to this address: 127.0.0.1, as the kernel writes it.
        listening = pathlib.Path("/proc/net/tcp").read_text()
        assert f" 0100007F:{port:04X} 00000000:0000 0A " in listening, listening
    finally:
        server.terminate()
        equal(server.wait(timeout=60), 0, "status of the server")
        server.stdout.close()


def check_metrics_command(stage):
    if subprocess.run([SHMBUS, "metrics", "--help"], capture_output=True, check=False).returncode:
        checks.skip("shmbus metrics", "this shmbus has no such command")
        return
    old = subprocess.run(metrics_words(stage), capture_output=True, text=True, check=False).stdout
    new = subprocess.run(metrics_words(stage, "--openmetrics"), capture_output=True, text=True,
                         check=False).stdout
    check_parsed(old, "text of shmbus metrics")
    check_parsed(new, "OpenMetrics of shmbus metrics")
    check_promtool(old)
    checks.check("the dashboard asks for metrics that there are", lambda: check_dashboard(old))
    checks.check("metrics are served on loopback, in both formats, past a client that is silent",
                 lambda: check_served(stage))


def row_of(text, name):
    return next((line.split() for line in text.splitlines()
                 if len(line.split()) > 2 and line.split()[1] == name), [])


def clock_of(text):
    return re.search(r"\d\d:\d\d:\d\d", text.splitlines()[0]).group()


def check_screens(stage, clerk):
    screen = stage.screen(80, 24, f"sh -c '{' '.join(stage.top_words('-d', '0.2'))}; "
                                  "echo status=$?; exec cat'")
    shown = screen.waits_for("sales", "narrow")
    equal(row_of(shown, "sales")[2], "601", "DEPTH of sales")
    equal(row_of(shown, "billing")[2], "400", "DEPTH of billing")
    equal(row_of(shown, "narrow")[0], "B", "S of narrow")
    assert f"daemon {stage.daemon.pid} ok" in shown, shown
    assert "█" in shown, shown
    equal(len(shown.splitlines()), 24, "lines")
    # Down to who blocks it, by keys alone.
    screen.press("/", "s", "a", "l", "e", "s", "Enter", "Enter")
    shown = screen.waits_for("depth 601 (600 waiting, 1 in hand)")
    assert "came 1.00k  left 400" in shown, shown
    assert "shop.order 1" in shown, shown
    screen.press("Enter")
    screen.waits_for("written 1001  waiting 600", "(pid")
    screen.press("Escape", "b")
    screen.waits_for(f"clerk (pid {clerk.pid}, top_traffic) holds 1 messages", "0 done")
    os.kill(clerk.pid, signal.SIGSTOP)
    screen.waits_for("STOPPED", f"kill -CONT {clerk.pid}")
    os.kill(clerk.pid, signal.SIGCONT)
    screen.waits_for("its handler is at work")
    screen.press("m")
    shown = screen.waits_for("1 in hands, 600 wait", "number=1 how=2")
    # The one that is held is the first that was sent; those that wait begin behind the 400.
    assert "number=402 how=0" in shown and "number=401 " not in shown, shown
    screen.press("2")
    shown = screen.waits_for("PROCESS", "clerk", "web", "shop")
    assert all(str(actor.pid) in shown for actor in stage.actors), shown
    screen.press("3")
    screen.waits_for("shop.order", "shop.invoice", "SUBSCRIBER")
    screen.press("4")
    shown = screen.waits_for(str(stage.journal), "in service", "written to", "synced to")
    # The thirty invoices have numbers of their own, and more stands there.
    lsn = int(re.search(r"^written to .* LSN (\d+)", shown, re.MULTILINE).group(1))
    assert lsn >= 30, shown
    verified = json.loads(subprocess.run(
        [SHMBUS, "--bus", stage.bus, "--format", "json", "journal", "verify"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "SHMBUS_JOURNAL": str(stage.journal)}).stdout)
    equal(lsn, verified["last_lsn"], "the last LSN")
    screen.press("6")
    screen.waits_for("first look at this bus", f"clerk (pid {clerk.pid}) is stopped by a signal",
                     f"clerk (pid {clerk.pid}) goes on")
    screen.press("1", "?")
    screen.waits_for("who blocks this queue?", "lines 1 to 18 of")
    screen.press("NPage", "NPage", "NPage")
    screen.waits_for("man shm-top")
    screen.press("Escape")
    shown = screen.waits_for("DEPTH", "Right more")
    assert "RETRY/s" not in shown, shown
    screen.press(*["Right"] * 9)
    shown = screen.waits_for("RETRY/s", "FAIL", "JLAG", "TREND", "Left more")
    equal(row_of(shown, "sales")[:2], ["R", "sales"], "what stays")
    screen.press(*["Left"] * 9)
    screen.waits_for("DEPTH")
    screen.press( "/", "books", "Enter", "Space")
    wait_for("a mark on top", lambda: "+books" in screen.text().splitlines()[5])
    screen.press("p")
    paused = clock_of(screen.waits_for("PAUSED", "sales"))
    # Looked at once all the same.
    wait_for("another second", lambda: clock_of(screen.press("u") or screen.text()) != paused)
    screen.press("q")
    screen.waits_for("status=0")


def check_wide_screen(stage, web):
    screen = stage.screen(200, 60, " ".join(stage.top_words("-d", "0.2")),
                          {"LC_ALL": "C", "NO_COLOR": "1"})
    shown = screen.waits_for("sales", "TREND")
    for head in ("KIND", "DEPTH", "FILL", "IN/s", "OUT/s", "P50", "P99", "CRIT", "OLDEST", "CONS",
                 "RETRY/s", "FAIL", "JLAG", "TREND"):
        assert head in shown, f"{head}\n{shown}"
    assert shown.isascii(), shown
    equal(row_of(shown, "sales")[3], "601", "DEPTH")
    equal(len(shown.splitlines()), 60, "lines")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", screen.text("-e")), "colours where none are wanted"
    # In this thread's lane there is no room soon: what is tried is refused, all of it.
    web.say("narrow 1000", "sent 64")
    screen.press("/", "narrow", "Enter", "Enter")
    screen.waits_for("BLOCKED/s", "TRIES/FULL", "WAITS")

    def refused(shape):
        web.say("narrow 1", "sent 0")
        return re.search(shape, screen.text(), re.MULTILINE)
    shown = wait_for("refusals in the table", lambda: refused(
        r"^[0-9a-f]{16} web .* open .* \d+ +0 +100 % +0 +[1-9]")).string
    lanes = re.findall(r"^[0-9a-f]{16} web .*", shown, re.MULTILINE)
    screen.press("g", *["j"] * next(at for at, lane in enumerate(lanes) if "100 %" in lane))
    screen.press("Enter")
    screen.waits_for("given back to")
    wait_for("refusals in the lane", lambda: refused(
        r"^writer +alive on cpu \d+  blocked 0/s  100 % of its tries found it full"))
    screen.press("q")
    # No look comes by itself: what is shown was read for the screen that is shown.
    screen = stage.screen(200, 60, " ".join(["cd", str(stage.folder), ";",
                                             *stage.top_words("-d", "3600s")]))
    screen.waits_for("sales", "TREND")
    screen.press("w")
    shown = screen.waits_for("written: shm-top-")
    others = set(stage.folder.glob("shm-top-*"))
    guarded = stage.screen(200, 60, " ".join(stage.top_words("--read-only", "-o", "endpoint")))
    rows = guarded.waits_for("sales", "TREND").splitlines()[5:]
    assert re.search(" +billing .* +books .* +narrow .* +sales ", "".join(rows)), rows
    guarded.press("w")
    guarded.waits_for("nothing is written")
    equal(set(stage.folder.glob("shm-top-*")), others, "files written with --read-only")
    guarded.press("q")
    saved = json.loads(
        (stage.folder / re.search("written: (shm-top-.*json)", shown)[1]).read_text())
    assert named(saved["types"], "shop.order")["processing_ns"]["count"] > 0, saved["types"]
    assert named(saved["endpoints"], "sales")["lanes"][0]["processing_ns"]["count"] > 0, saved
    screen.press("Tab", "Tab")
    shown = screen.waits_for("SUBSCRIBER", "CRIT")
    assert re.search(r"^shop\.order .*( +[0-9.]+[mun]?s\*){2} +\S+ *$", shown, re.MULTILINE), shown
    screen.press("1", "/", "sales", "Enter", "Enter")
    screen.waits_for("WAIT99", "CRIT99")
    screen.press("Enter")
    shown = screen.waits_for("given back to", "queue wait")
    assert re.search(r"^processing +p50 [0-9.]+[mun]?s .* n [0-9]+ ever *$", shown, re.MULTILINE), shown
    screen.press("q")


def check_terminal(stage):
    """Random keys and sizes; ended in every way; afterwards the terminal is as it was."""
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    try:
        command = " ".join(stage.top_words("-d", "0.1"))
        shell = stage.screen(80, 24, "sh -c 'PS1=; export PS1; exec sh'")
        ends = ("q", "C-c", "SIGTERM", "SIGHUP", "C-\\", "SIGTERM", "q")
        for round_number, how in enumerate(ends):
            shell.press(f"clear; stty -g >{stage.folder}/before; {command} --endpoint sales; "
                        f"echo status=$? end-{round_number}; stty -g >{stage.folder}/after", "Enter")
            shell.waits_for("processing")
            for _ in range(8):
                shell.run("resize-window", "-x", str(chance.randrange(1, 220)), "-y",
                          str(chance.randrange(1, 70)))
                shell.press(chance.choice(["j", "k", "Enter", "Escape", "1", "2", "3", "4", "b",
                                           "?", "c", "Tab", "r", ">", "Up", "F1"]))
            shell.run("resize-window", "-x", "80", "-y", "24")
            # So that it has read all the others: what it has not read is the shell's.
            shell.press("Escape", "1")
            shell.waits_for("ENDPOINT")
            if how.startswith("SIG"):
                os.kill(shell.pid_of("shm-top"), getattr(signal, how))
            else:
                shell.press(how)
            shown = shell.waits_for(f"end-{round_number}")
            wanted = {"SIGTERM": 143, "SIGHUP": 129, "C-\\": 131}.get(how, 0)
            assert f"status={wanted} end-{round_number}" in shown, shown
            after = pathlib.Path(stage.folder, "after")
            wait_for("stty", lambda: after.exists() and after.read_text())
            equal(after.read_text(), pathlib.Path(stage.folder, "before").read_text(), how)
            after.unlink()
            equal(shell.fact("alternate_on"), "0", f"{how}: the other screen is left")
            equal(shell.fact("cursor_flag"), "1", f"{how}: the cursor is seen")
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from None


def check_unread_keys(stage):
    """What it did not come to read was meant for it, and not for whoever reads next."""
    command = " ".join(stage.top_words("-d", "0.1"))
    screen = stage.screen(80, 24, f"sh -c '{command}; echo ended=$?; read key; echo \"read=$key.\"; "
                                  "exec cat'")
    screen.waits_for("sales")
    pid = screen.pid_of("shm-top")
    os.kill(pid, signal.SIGSTOP)
    screen.press("j", "k", "leaked", "Enter")
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    screen.waits_for("ended=143")
    screen.press("meant", "Enter")
    screen.waits_for("read=meant.")


def check_opens(stage):
    """No open for writing below the bus, no shared mapping that could be written."""
    trace = stage.folder / "trace"
    made = subprocess.run(["strace", "-f", "-o", trace, "-e",
                           "trace=open,openat,openat2,creat,mmap,mprotect,unlink,unlinkat,rename,"
                           "renameat,renameat2,mkdir,mkdirat,ftruncate,fallocate,flock,fcntl",
                           *stage.top_words("--json", "-n", "2", "-d", "0.1")],
                          capture_output=True, text=True, check=False)
    if made.returncode != 0 and "ptrace" in made.stderr.lower():
        return "the kernel allows no tracing"
    equal(made.returncode, 0, made.stderr)
    # Of the program's own start: the loader's files are no business of the bus.
    writes = re.compile(r"O_RDWR|O_WRONLY|O_CREAT|O_TRUNC|O_APPEND")
    opened = 0
    # By process: which descriptors are files of the bus.
    ours = set()
    for line in trace.read_text().splitlines():
        call = line.split(None, 1)[1] if line[:1].isdigit() else line
        result = re.search(r"= (\d+)", call)
        if call.startswith(("openat(", "open(")) and result:
            at = re.match(r"openat\((\d+|AT_FDCWD)", call)
            path = re.search(r'"([^"]*)"', call).group(1)
            of_bus = path.startswith(str(stage.folder)) or (
                at and at.group(1) != "AT_FDCWD" and int(at.group(1)) in ours)
            if of_bus:
                opened += 1
                assert not writes.search(call), call
                ours.add(int(result.group(1)))
            else:
                ours.discard(int(result.group(1)))
        elif call.startswith("mmap(") and "MAP_SHARED" in call:
            assert "PROT_WRITE" not in call, call
        elif call.startswith(("creat(", "unlink", "rename", "mkdir", "ftruncate", "fallocate",
                              "flock(")):
            raise AssertionError(call)
        elif call.startswith("fcntl(") and re.search(r"F_(OFD_)?SETLK", call):
            raise AssertionError(call)
    assert opened > 10, f"only {opened} opens were seen"
    return ""


def state_of_files(folder):
    state = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file():
            facts = path.stat()
            state[str(path)] = (facts.st_size, facts.st_blocks, facts.st_mtime_ns, facts.st_mode,
                                hashlib.sha256(path.read_bytes()).hexdigest())
        else:
            state[str(path)] = path.lstat().st_mtime_ns
    return state


def check_dead(stage):
    stage.kill_all()
    before = state_of_files(stage.bus)
    seen = snapshot(stage)
    check_ledger_after(seen)
    stage.top("-b", "-n", "2", "-d", "0.1")
    stage.top("--openmetrics")
    screen = stage.screen(80, 24, " ".join(stage.top_words("-d", "0.1")))
    shown = screen.waits_for("daemon none", "sales")
    equal(row_of(shown, "sales")[0], "D", "sales has nobody")
    screen.press("/", "s", "a", "l", "e", "s", "Enter", "b")
    screen.waits_for("nobody reads it", "DEAD")
    screen.press("q")
    wait_for("its end", lambda: screen.fact("pane_dead") == "1")
    equal(state_of_files(stage.bus), before, "the files")


def check_ledger_after(seen):
    # A hundred more were sent for the rates, and four hundred handled.
    sales = named(seen["endpoints"], "sales")
    equal((sales["received_total"], sales["settled_total"], sales["depth"]), (1101, 800, 301))
    for process in seen["processes"]:
        equal(process["life"], "dead", process["name"])
    equal(seen["bus"]["daemon"], "dead")
    orphaned = [one["endpoint"] for one in seen["subscriptions"] if one["is_orphaned"]]
    equal(orphaned, ["billing"], "orphaned subscriptions")


def check_copy(stage):
    copy = stage.folder / "copy"
    copy_bus(stage, copy)
    made = subprocess.run([TOP, "--dir", copy, "--json", "-n", "1"], capture_output=True,
                          text=True, check=False)
    equal(made.returncode, 0, made.stderr)
    sales = named(json.loads(made.stdout)["endpoints"], "sales")
    equal((sales["received_total"], sales["settled_total"], sales["depth"]), (1101, 800, 301))


def check_refusals(stage):
    nowhere = subprocess.run([TOP, "--dir", stage.folder / "nowhere", "-b"], capture_output=True,
                             text=True, check=False)
    equal(nowhere.returncode, 69, "status without a bus")
    assert "no bus" in nowhere.stderr and str(stage.folder / "nowhere") in nowhere.stderr, (
        nowhere.stderr)
    plain = stage.top(stdin=subprocess.DEVNULL)
    equal(plain.returncode, 64, "status without a terminal")
    # As shmbus says it: what happened, and what helps.
    for said in (nowhere, plain, stage.top("--nonsense")):
        begins = [line[:10] for line in said.stderr.splitlines()]
        equal(begins[0][:9] + begins[-1], "shm-top:   try:    ", said.stderr)
    unknown = stage.screen(80, 24, "sh -c 'TERM=nonsense " + " ".join(stage.top_words()) +
                           "; echo status=$?; exec cat'")
    assert "TERM" in unknown.waits_for("status=64"), unknown.text()
    dumb = stage.screen(80, 24, "sh -c 'TERM=dumb " + " ".join(stage.top_words()) +
                        "; echo status=$?; exec cat'")
    assert "cursor" in dumb.waits_for("status=64"), dumb.text()
    assert "-b" in plain.stderr, plain.stderr
    equal(stage.top("--json", "-n", "1", "--nonsense").returncode, 64, "status of wrong usage")
    for option in ("--bus", "--dir", "--journal", "--endpoint"):
        empty = subprocess.run([TOP, "-b", "-n", "1", option, ""], capture_output=True, text=True,
                               check=False)
        equal((empty.returncode, "it is empty" in empty.stderr), (64, True), option)
    wrong = stage.top("-b", "-o", "depht")
    equal((wrong.returncode, wrong.stdout), (64, ""), "status of a column that is none")
    assert "'depht' is no column" in wrong.stderr and " oldest cons " in wrong.stderr, wrong.stderr
    equal(stage.top("-b", "-n", "1", "--totals").returncode, 64, "status of totals in text")
    for words in (("-b", "-n", "-1"), ("--json", "--csv", "-n", "1"),
                  ("-b", "-n", "1", "--endpoint", "sales")):
        equal(stage.top(*words).returncode, 64, f"status of {words}")
    with open("/dev/full", "wb") as full:
        said = subprocess.run(stage.top_words("-b", "-n", "1"), stdout=full, text=True,
                              stderr=subprocess.PIPE, check=False)
    equal((said.returncode, said.stderr.startswith("shm-top: standard output took not all")),
          (74, True), "output that fails is told of")
    for wrong in ("0", "99ms", "1d"):
        equal(stage.top("-d", wrong).returncode, 64, f"status of an interval of {wrong}")
    equal(stage.top("--json", "-n", "2", "-d", "100ms").returncode, 0, "100ms")
    broken = stage.folder / "broken"
    copy_bus(stage, broken)
    (broken / "directory").write_bytes(b"this was one")
    made = subprocess.run([TOP, "--dir", broken, "-b"], capture_output=True, text=True, check=False)
    equal(made.returncode, 65, made.stderr)
    # Goes away while it is looked at, and comes again.
    shutil.copy(stage.bus / "directory", broken)
    screen = stage.screen(80, 24, f"{TOP} --dir {broken} -d 0.1")
    screen.waits_for("sales")
    (broken / "directory").rename(broken / "away")
    screen.waits_for("the bus is gone", "sales")
    screen.press("6")
    (broken / "away").rename(broken / "directory")
    screen.waits_for("the bus is gone", "the bus is seen again")
    screen.press("q")
    # Nobody reads any more: it ends, quietly.
    piped = subprocess.run(["bash", "-c", '"$@" | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}"',
                            "-", *stage.top_words("--json", "-d", "0.1")],
                           capture_output=True, text=True, timeout=60, check=False)
    equal((piped.stdout.strip(), piped.stderr), ("0", ""), "status of a broken pipe")


def main():
    if not TOP.exists() or not TRAFFIC.exists():
        checks.skip("shm-top", f"{BUILD} has none; it needs libncurses-dev")
        return
    with Stage() as stage:
        shop, web, clerk = make_traffic(stage)
        seen = snapshot(stage)
        checks.check("figures in JSON are the ledger's", lambda: check_ledger(seen))
        checks.check("processes are known by their numbers", lambda: check_pids(stage, seen))
        check_schema(stage)
        checks.check("text and CSV have the same figures", lambda: check_text(stage))
        check_metrics(stage)
        check_metrics_command(stage)
        if shutil.which("tmux"):
            checks.check("screens of 80x24 show the ledger, down to who blocks a queue",
                         lambda: check_screens(stage, clerk))
            checks.check("a screen of 200x60 has every column, in ASCII, without colours",
                         lambda: check_wide_screen(stage, web))
            checks.check("however it is resized and ended, the terminal is left as it was",
                         lambda: check_terminal(stage))
            checks.check("keys that it has not read when it ends are nobody's",
                         lambda: check_unread_keys(stage))
        else:
            checks.skip("screens", "there is no tmux")
        if shutil.which("strace"):
            checks.check("nothing of a bus is opened or mapped for writing",
                         lambda: check_opens(stage))
        else:
            checks.skip("nothing of a bus is opened or mapped for writing", "there is no strace")
        checks.check("what is not on disk yet is told, and for whom it is",
                     lambda: check_lag(stage, web))
        checks.check("rates and times are of what came between two looks",
                     lambda: check_rates(stage, web, shop))
        if shutil.which("tmux"):
            checks.check("with everybody dead all is shown, and no file changes",
                         lambda: check_dead(stage))
        checks.check("a copy of a bus is shown as well", lambda: check_copy(stage))
        checks.check("no bus, no terminal, wrong words and a broken pipe end as they should",
                     lambda: check_refusals(stage))
    if shutil.which("tmux"):
        with Stage() as stage:
            checks.check("a failed message is seen in the error endpoint, with its reason",
                         lambda: check_failures(stage))
            checks.check("what a script sent is shown as text", lambda: check_script_text(stage))
            checks.check("a save that fails says why and where",
                         lambda: check_save_that_fails(stage))


if __name__ == "__main__":
    main()
    checks.finish()
