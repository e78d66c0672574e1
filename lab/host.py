"""A host: boot, stop, crash, reboot, partition, heal, destroy."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import cgroup, guest, network, packages
from lab.machine import Machine
from lab.process import Process, children, kill, until
from lab.shell import LabError, run, succeeds
from lab.state import CACHE, read, write

BOOT_SECONDS = 60.0
STOP_SECONDS = 100.0  # systemd itself gives its units 90
PROJECT = Path(__file__).parent.parent
ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
NSPAWN = Path("/run/systemd/nspawn")


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a run."""

    name: str
    run: str
    number: int  # of the run
    index: int  # of the host in the run, from 1
    directory: Path

    @property
    def machine(self) -> str:
        """Its name among machines, short enough for a network interface."""
        return network.machine(self.number, self.index)

    @property
    def address(self) -> str:
        """Its address."""
        return network.address(self.number, self.index)

    @property
    def link(self) -> str:
        """This machine's end of its link, as nspawn names it."""
        return f"vb-{self.machine}"

    @property
    def root(self) -> Path:
        """Its file system, while it is mounted."""
        return self.directory / "root"

    @property
    def upper(self) -> Path:
        """What it has written over its base."""
        return self.directory / "upper"

    @property
    def complete(self) -> bool:
        """Whether it was made to its end; if not, somebody was interrupted."""
        return (self.directory / "host.json").exists()

    def alive(self) -> bool:
        """Return whether its supervisor runs."""
        supervisor = self._supervisor()
        return supervisor is not None and supervisor.alive

    def _supervisor(self) -> Process | None:
        return Process.load(read(self.directory / "supervisor.json"))

    def _nspawn(self) -> Process | None:
        return Process.load(read(self.directory / "boot.json").get("nspawn"))

    def leader(self) -> Process | None:
        """Return its first process; None while it is down."""
        nspawn = self._nspawn()
        return next(iter(children(nspawn.pid)), None) if nspawn and nspawn.alive else None

    def require_leader(self) -> Process:
        """Return its first process. Raises LabError while it is down."""
        if (leader := self.leader()) is None:
            raise LabError(f"{self.name} is not running; `python3 -m lab start --run {self.run} {self.name}` boots it")
        return leader

    def create(self, suite: str, lower: str, machine: Machine, public_key: Path) -> None:
        """Make its root tree: an overlay on the suite's base, or on layers over it."""
        self.mount(lower)
        guest.prepare(
            self.root,
            machine,
            hostname=self.name,
            address=self.address,
            gateway=network.gateway(self.number),
            public_key=public_key,
        )
        packages.lend(self.root, self.upper, suite)
        self.record(suite, lower)

    def record(self, suite: str, lower: str) -> None:
        """Write what it is made of: from now on it is complete."""
        values = {"machine": self.machine, "bridge": network.bridge(self.number), "suite": suite, "lower": lower}
        write(self.directory / "host.json", values)

    def known(self) -> dict[str, str]:
        """Return what it is made of; nothing when it is not complete."""
        return read(self.directory / "host.json")

    def mount(self, lower: str) -> None:
        """Mount its root tree if it is not mounted, as after a restart of this machine."""
        for part in ("upper", "work", "root"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        if not self.root.is_mount():
            options = f"lowerdir={lower},upperdir={self.upper},workdir={self.directory / 'work'}"
            run("mount", "-t", "overlay", f"lab-{self.machine}", "-o", options, str(self.root))

    def unmount(self) -> None:
        """Unmount it, and remove the lock that nspawn leaves on it. Raises LabError when it stays busy."""
        if self.root.is_mount():
            root = self.root.stat()
            (NSPAWN / "locks" / f"inode-{root.st_dev}:{root.st_ino}").unlink(missing_ok=True)
            if not until(lambda: succeeds(["umount", str(self.root)]), within=5):
                run("umount", str(self.root))

    def start(self) -> None:
        """Boot it, if it is down, without waiting."""
        if self.alive():
            return
        self.mount(self.known()["lower"])
        (CACHE / "uv").mkdir(parents=True, exist_ok=True)
        for name in ("supervisor.json", "boot.json"):
            (self.directory / name).unlink(missing_ok=True)
        with (self.directory / "console.log").open("ab") as console:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "lab.supervise", str(self.directory)],
                cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
        if started := Process.of(supervisor.pid):
            write(self.directory / "supervisor.json", started.record())
        supervisor.returncode = 0  # it outlives us: nothing to wait for

    def wait(self, *, after: Process | None = None) -> None:
        """Wait until systemd and sshd answer, of a boot after that leader's. Raises LabError with the console's end."""

        def up() -> bool:
            leader = self.leader()
            return leader not in (None, after) and self._greets() and self._answers()

        if not until(lambda: up() or not self.alive(), within=BOOT_SECONDS) or not self.alive():
            end = (self.directory / "console.log").read_text(errors="replace")[-2000:]
            raise LabError(f"{self.name} did not come up within {BOOT_SECONDS:g} s; its console's end:\n{end}")

    def _greets(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
        return False

    def _answers(self) -> bool:
        with contextlib.suppress(LabError):
            return succeeds(self.inside("systemctl", "show-environment"))
        return False

    def stop(self) -> None:
        """Shut it down in order; when that takes too long, cut its power."""
        if nspawn := self._nspawn():
            nspawn.send(signal.SIGTERM)
            until(lambda: not self.alive(), within=STOP_SECONDS)
        self.crash()

    def crash(self) -> None:
        """Cut its power: everything in it is killed at once."""
        kill([self._supervisor(), self._nspawn(), self.leader(), *cgroup.members(self.machine)])
        network.cut(self.link)

    def reboot(self) -> None:
        """Let the guest reboot and wait until it is up again."""
        leader = self.require_leader()
        run(*self.inside("systemctl", "reboot"))
        self.wait(after=leader)

    def partition(self) -> None:
        """Cut it off from the network."""
        self.require_leader()
        run("ip", "link", "set", self.link, "down")

    def heal(self) -> None:
        """Connect it again."""
        self.require_leader()
        run("ip", "link", "set", self.link, "up")

    def inside(self, *command: str) -> list[str]:
        """Return the command that runs another in it, past its network and its sshd."""
        terminal = f"TERM={os.environ.get('TERM', 'dumb')}"
        target = f"--target={self.require_leader().pid}"
        return ["nsenter", target, "--all", "env", "--chdir=/root", "-i", *ENVIRONMENT, terminal, *command]

    def destroy(self) -> None:
        """Remove it and everything of it, whatever state it is in; its packages are kept for the next host."""
        self.crash()
        cgroup.remove(self.machine)
        if suite := self.known().get("suite"):
            packages.keep(self.upper, suite)
        self.unmount()
        shutil.rmtree(NSPAWN / "propagate" / self.machine, ignore_errors=True)
        shutil.rmtree(self.directory)
