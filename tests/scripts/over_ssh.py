#!/usr/bin/env python3
"""shm-top by way of ssh: a server of our own on loopback, its client in a terminal, and every way
in which such a connection ends.

SPDX-License-Identifier: BSL-1.0
"""
import contextlib
import getpass
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys

# Nothing is written beside the sources.
sys.dont_write_bytecode = True

from bus_stage import BUILD, LIMIT_S, TOP, TRAFFIC, Checks, Stage, equal, wait_for

CHECK = "over ssh shm-top shows, follows the size, and leaves nothing however the connection ends"
checks = Checks()


class CannotServe(Exception):
    """Why there is no server here."""


def program_of_server(folder):
    """Unpacked and not installed where there is none: the package would start a server."""
    path = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if path:
        return path
    try:
        made = subprocess.run(["sh", "-c", "apt-get download openssh-server && dpkg --fsys-tarfile "
                               "openssh-server_*.deb | tar -x ./usr/sbin/sshd"], cwd=folder,
                              capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        raise CannotServe("apt-get download takes longer than two minutes") from None
    path = folder / "usr/sbin/sshd"
    if not path.exists():
        said = (made.stderr or made.stdout).strip().splitlines()
        raise CannotServe(f"no sshd, and apt-get download said: {said[-1] if said else 'nothing'}")
    return str(path)


class Server:
    """An sshd for one user, with keys that are thrown away. Root's wants a user `sshd` and a
    directory /run/sshd: it gets them in a mount namespace of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "sshd.log"
        program = program_of_server(folder)
        for name in ("host", "mine"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                           check=True, timeout=LIMIT_S)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        words = [program, "-D", "-e", "-f", "/dev/null", "-p", str(self.port), "-h",
                 str(folder / "host")]
        for option in ("ListenAddress=127.0.0.1", f"AuthorizedKeysFile={folder / 'mine.pub'}",
                       "StrictModes=no", "UsePAM=no", "PidFile=none", "PasswordAuthentication=no",
                       "PermitRootLogin=prohibit-password", "PrintLastLog=no", "PrintMotd=no"):
            words += ["-o", option]
        if os.geteuid() == 0:
            passwd = folder / "passwd"
            passwd.write_text(pathlib.Path("/etc/passwd").read_text() +
                              "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
            words = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o mode=0755 none /run; '
                     'mkdir /run/sshd; mount --bind "$0" /etc/passwd; exec "$@"', str(passwd),
                     *words]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for("the ssh server", self.answers_or_ended)
            self.try_it()
        except BaseException:
            self.stop()
            raise

    def last_words(self):
        return (self.log.read_text().strip().splitlines() or ["nothing"])[-1]

    def answers_or_ended(self):
        if self.process.poll() is not None:
            raise CannotServe(f"sshd does not run here: {self.last_words()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def client(self, *command):
        return ["ssh", "-F", "none", "-p", str(self.port), "-i", str(self.folder / "mine"),
                "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                f"{getpass.getuser()}@127.0.0.1", *command]

    def try_it(self):
        # With a terminal: a server that is not root's cannot give one away where terminals are not
        # made for the group that the system has for them.
        made = subprocess.run(self.client("-tt", "echo", "here"), capture_output=True, text=True,
                              timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL)
        if made.stdout.strip() != "here":
            raise CannotServe("nobody may log in with a terminal: "
                              f"{made.stderr.strip()}; {self.last_words()}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def processes():
    """Number, parent and words of all that there are."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
                found.append((int(entry.name), parent, words))
    return found


def descendants(ancestor):
    found = [ancestor]
    everybody = processes()
    for one in found:
        found += [pid for pid, parent, _ in everybody if parent == one]
    return found[1:]


def begin(stage, server, shell, number):
    """Starts shm-top by way of ssh and waits for its first screen; the number of its process."""
    remote = shlex.join(["env", "LC_ALL=C.UTF-8", *stage.top_words("-d", "0.2")])
    shell.press("clear; stty -g >before; " + shlex.join(server.client("-tt", remote)) +
                f"; echo status=$? end-{number}; stty -g >after", "Enter")
    shell.waits_for("sales", "? help")
    started = [pid for pid, _, words in processes()
               if words[0] == str(TOP) and str(stage.bus) in words]
    equal(len(started), 1, "how many were started")
    return started[0]


def sales_of(text):
    return next((line.split() for line in text.splitlines() if line[2:].startswith("sales ")), [])


def check_over_ssh(stage, server):
    shop = stage.actor("shop")
    shop.say("open sales", "opened")
    web = stage.actor("web")
    web.say("send 1001", "sent 1001")
    shop.say("handle sales 400", "handled 400")
    shell = stage.screen(80, 24, "sh -c 'PS1=; export PS1; exec sh'")
    pane = int(shell.fact("pane_pid"))
    for number, how in enumerate(("q", "C-c", "C-\\", "SIGTERM to it", "SIGHUP to it",
                                  "SIGHUP to ssh", "SIGKILL to ssh", "server")):
        top = begin(stage, server, shell, number)
        wait_for("DEPTH of sales at 80x24", lambda: sales_of(shell.text())[2:3] == ["601"])
        equal(len(shell.text().splitlines()), 24, "lines")
        shell.run("resize-window", "-x", "200", "-y", "60")
        shell.waits_for("TREND", "JLAG")
        wait_for("the last line at the bottom", lambda: "? help" in shell.text().splitlines()[-1] and
                 len(shell.text().splitlines()) == 60)
        wait_for("DEPTH of sales at 200x60", lambda: sales_of(shell.text())[3:4] == ["601"])
        shell.run("resize-window", "-x", "80", "-y", "24")
        wait_for("the smaller one", lambda: "Right more" in shell.text())
        # What is on the screen goes on to be what is on the bus.
        web.say("send 10", "sent 10")
        wait_for("611", lambda: sales_of(shell.text())[2:3] == ["611"])
        shop.say("handle sales 10", f"handled {410 + 10 * number}")
        after = pathlib.Path(stage.folder, "after")
        after.unlink(missing_ok=True)
        if how == "server":
            # All that serves this connection, save shm-top.
            for pid in descendants(server.process.pid):
                if pid != top:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        elif " to " in how:
            name, whom = how.split(" to ")
            client, = descendants(pane)
            os.kill(top if whom == "it" else client, getattr(signal, name))
        else:
            shell.press(how)
        shell.waits_for(f"end-{number}")
        wait_for(f"{how}: the end of shm-top", lambda: not pathlib.Path(f"/proc/{top}").exists())
        wait_for("stty", lambda: after.exists() and after.read_text())
        said = shell.text()
        if how in ("q", "C-c", "C-\\", "SIGTERM to it", "SIGHUP to it"):
            wanted = {"C-\\": 131, "SIGTERM to it": 143, "SIGHUP to it": 129}.get(how, 0)
            assert f"status={wanted} end-{number}" in said, said
            equal(shell.fact("alternate_on"), "0", f"{how}: the other screen is left")
            equal(shell.fact("cursor_flag"), "1", f"{how}: the cursor is seen")
        if how != "SIGKILL to ssh":
            equal(after.read_text(), pathlib.Path(stage.folder, "before").read_text(), how)
        # Where nobody was left to tell the terminal, its user does; Enter is no end of a line there.
        shell.press("stty sane; tput rmcup; tput cnorm", "C-j")
        wait_for(f"{how}: the shell's own screen", lambda: shell.fact("alternate_on") == "0")


def main():
    if not TOP.exists() or not TRAFFIC.exists():
        return checks.skip(CHECK, f"{BUILD} has no shm-top; it needs libncurses-dev")
    for program in ("tmux", "ssh", "ssh-keygen"):
        if not shutil.which(program):
            return checks.skip(CHECK, f"there is no {program}")
    with Stage() as stage:
        try:
            server = Server(stage.folder)
        except CannotServe as why:
            return checks.skip(CHECK, str(why))
        try:
            checks.check(CHECK, lambda: check_over_ssh(stage, server))
        finally:
            server.stop()
    return None


if __name__ == "__main__":
    main()
    checks.finish()
