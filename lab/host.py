"""A host: boot, stop, crash, reboot, partition, heal, destroy."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import base, cgroup, guest, network, process
from lab.shell import LabError, run, succeeds
from lab.state import CACHE, read, write

BOOT_SECONDS = 60.0
STOP_SECONDS = 30.0
PROJECT = Path(__file__).parent.parent


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
        """Return its name among machines, short enough for a network interface."""
        return f"o{self.number}-{self.index}"

    @property
    def address(self) -> str:
        """Return its address."""
        return network.address(self.number, self.index)

    def alive(self) -> bool:
        """Return whether its supervisor runs."""
        found = read(self.directory / "supervisor.json")
        return bool(found) and process.alive(found["pid"], found["start"])

    def create(self, suite: str, public_key: Path) -> None:
        """Make its root tree: an overlay on the suite's base."""
        lower = base.tree(suite)
        for part in ("upper", "work", "root"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        write(self.directory / "host.json", {"machine": self.machine, "bridge": network.bridge(self.number),
                                             "suite": suite, "lower": str(lower)})  # fmt: skip
        self.mount()
        guest.prepare(
            self.directory / "root",
            hostname=self.name,
            address=self.address,
            gateway=network.gateway(self.number),
            public_key=public_key,
        )
        self._lend_packages(suite)

    def mount(self) -> None:
        """Mount its root tree if it is not mounted, as after a restart of this machine."""
        root, upper, work = (self.directory / part for part in ("root", "upper", "work"))
        if not succeeds(["mountpoint", "-q", str(root)]):
            lower = read(self.directory / "host.json")["lower"]
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            run("mount", "-t", "overlay", f"lab-{self.machine}", "-o", options, str(root))

    def start(self) -> None:
        """Boot it and wait until it answers. Raises LabError with the console's end."""
        if self.alive():
            return
        self.mount()
        (CACHE / "uv").mkdir(parents=True, exist_ok=True)
        (self.directory / "boot.json").unlink(missing_ok=True)
        with (self.directory / "console.log").open("ab") as console:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "lab", "supervise", str(self.directory)],
                cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
        write(self.directory / "supervisor.json", {"pid": supervisor.pid, "start": process.started(supervisor.pid)})
        self.wait()

    def wait(self, boots: int = 1) -> None:
        """Wait until it has booted (so many times) and sshd answers."""
        self._until(lambda: read(self.directory / "boot.json").get("boots", 0) >= boots and self._answers(), "boot")

    def stop(self) -> None:
        """Shut it down in order."""
        pid = read(self.directory / "boot.json").get("nspawn")
        if self.alive() and pid:
            os.kill(pid, signal.SIGTERM)
            limit = time.monotonic() + STOP_SECONDS
            while self.alive() and time.monotonic() < limit:
                time.sleep(0.1)
        self.crash()

    def crash(self) -> None:
        """Kill it as a power cut would."""
        found = read(self.directory / "supervisor.json")
        boot = read(self.directory / "boot.json")
        pids = [found["pid"]] if found and process.alive(found["pid"], found["start"]) else []
        if pids:
            nspawns = process.children(pids[0])
            pids += nspawns + [leader for n in nspawns for leader in process.children(n)] + [boot.get("leader", 0)]
        process.kill([p for p in dict.fromkeys(pids) if p])
        for name in ("supervisor.json", "boot.json"):
            (self.directory / name).unlink(missing_ok=True)
        if self._link() in network.links():
            run("ip", "link", "del", self._link(), check=False)

    def reboot(self) -> None:
        """Let the guest reboot and wait until it is up again."""
        boots = read(self.directory / "boot.json").get("boots", 0)
        self.execute("systemctl", "reboot", check=False)
        self.wait(boots + 1)

    def partition(self) -> None:
        """Cut it off from the network."""
        run("ip", "link", "set", self._link(), "down")

    def heal(self) -> None:
        """Connect it again."""
        run("ip", "link", "set", self._link(), "up")

    def execute(self, *command: str, check: bool = True) -> str:
        """Run a command in it, without the network; return its output."""
        leader = read(self.directory / "boot.json").get("leader")
        if not leader:
            raise LabError(f"{self.name} is not running; start it with `python3 -m lab start {self.name}`")
        path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        return run("nsenter", "-t", str(leader), "-a", *command, check=check, env=path)

    def destroy(self) -> None:
        """Remove it and everything of it; downloaded packages are kept for the next host."""
        self.crash()
        self._keep_packages()
        root = self.directory / "root"
        self._until(lambda: not succeeds(["mountpoint", "-q", str(root)]) or succeeds(["umount", str(root)]), "unmount")
        shutil.rmtree(self.directory, ignore_errors=True)
        cgroup.remove(self.machine)

    def _link(self) -> str:
        return f"vb-{self.machine}"

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=1):
                return True
        except OSError:
            return False

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + BOOT_SECONDS
        while not condition():
            if time.monotonic() > limit or (what == "boot" and not self.alive()):
                end = (self.directory / "console.log").read_text(errors="replace")[-800:]
                raise LabError(f"{self.name}: {what} failed; the console's end:\n{end}")
            time.sleep(0.1)

    def _packages(self, suite: str) -> Path:
        return CACHE / "apt" / suite

    def _lend_packages(self, suite: str) -> None:
        """Put packages that other hosts downloaded where apt looks first. Hard links: apt may delete them."""
        target = self.directory / "root/var/cache/apt/archives"
        target.mkdir(parents=True, exist_ok=True)
        for package in self._packages(suite).glob("*.deb"):
            shutil.copy2(package, target / package.name)

    def _keep_packages(self) -> None:
        known = read(self.directory / "host.json")
        if not known:
            return
        target = self._packages(known["suite"])
        target.mkdir(parents=True, exist_ok=True)
        for package in (self.directory / "upper/var/cache/apt/archives").glob("*.deb"):
            if not (target / package.name).exists():
                shutil.copy2(package, target / package.name)
