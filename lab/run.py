"""A run: some hosts, a bridge and a key that belong together and go together."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import base, network, snapshot
from lab.host import PROJECT, Host
from lab.machine import Machine
from lab.process import Process
from lab.shell import LabError, RunGoneError, run
from lab.state import RUNS, locked, read, write

NAME = re.compile(r"[a-z]([a-z0-9-]{0,29}[a-z0-9])?")


def checked(name: str, what: str) -> str:
    """Return the name if it can be one of a directory and of a host. Raises LabError."""
    if not NAME.fullmatch(name):
        raise LabError(f"{name!r} is no name for a {what}: lower-case letters, digits and -, at most 31")
    return name


def default_name(project: Path = PROJECT) -> str:
    """Return the run of a checkout: two checkouts on one machine have different ones. Pure."""
    return f"checkout-{hashlib.sha256(str(project).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the lab."""

    name: str
    number: int
    directory: Path
    owner: Process | None  # when it has ended, nobody needs the run any more

    @classmethod
    def open(cls, name: str, owner: int | None = None) -> Run:
        """Return a run, made if there is none; its number, and with it bridge and subnet, is nobody else's."""
        directory = RUNS / checked(name, "run")
        with locked():
            if not (directory / "run.json").exists():
                process = Process.of(owner) if owner else None
                if owner and process is None:
                    raise LabError(f"--owner {owner}: there is no such process")
                taken = network.numbers_in_use() | {other.number for other in cls.all()}
                record = {"number": network.free_number(taken), "owner": process.record() if process else None}
                directory.mkdir(parents=True, exist_ok=True)
                write(directory / "run.json", record)
            found = cls.find(name)
            network.up(found.number)
            if not found.key.exists():
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(found.key))
        return found

    @classmethod
    def find(cls, name: str) -> Run:
        """Return an existing run. Raises LabError when there is none of that name."""
        for found in cls.all():
            if found.name == name:
                return found
        known = ", ".join(found.name for found in cls.all()) or "none"
        raise LabError(f"no run {name!r}; there are: {known}")

    @classmethod
    def all(cls) -> Iterator[Run]:
        """Yield every run."""
        for path in sorted(RUNS.glob("*/run.json")):
            record = read(path)
            if record:
                yield cls(path.parent.name, int(record["number"]), path.parent, Process.load(record.get("owner")))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from changing this run meanwhile. Raises RunGoneError when it is gone by then."""
        with locked(f"run-{self.number}.lock"):
            if not (self.directory / "run.json").exists():
                raise RunGoneError(f"the run {self.name} was removed meanwhile")
            yield

    @property
    def key(self) -> Path:
        """The key that opens its hosts."""
        return self.directory / "key"

    def hosts(self) -> list[Host]:
        """Return the hosts of this run, those too that were not made to their end."""
        known = sorted((self.directory / "hosts").glob("*/index.json"))
        return [Host(path.parent.name, self.name, self.number, read(path)["index"], path.parent) for path in known]

    def host(self, name: str) -> Host:
        """Return a host. Raises LabError when there is none of that name."""
        for host in self.hosts():
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts()) or "none"
        raise LabError(f"run {self.name} has no host {name!r}; it has: {known}")

    def place(self, name: str, suite: str, label: str | None) -> tuple[Host, bool]:
        """Return a host that can be started, and whether it had to be made: from a snapshot or from a suite's base."""
        found = next((host for host in self.hosts() if host.name == checked(name, "host")), None)
        if found and found.complete:
            return found, False
        if found:
            found.destroy()
        machine = Machine.read()
        if label:
            suite, lower = snapshot.find(self.directory, label)
        else:
            lower = str(base.tree(suite, machine))
        directory = self.directory / "hosts" / name
        directory.mkdir(parents=True)
        write(directory / "index.json", {"index": network.free_index(host.index for host in self.hosts())})
        host = self.host(name)
        host.create(suite, lower, machine, self.directory / "key.pub")
        return host, True

    def down(self) -> None:
        """Remove the run and everything of it."""
        for host in self.hosts():
            host.destroy()
        with locked():
            network.down(self.number)
            shutil.rmtree(self.directory)

    def abandoned(self) -> bool:
        """Return whether its owner is gone; without an owner, whether this machine has booted anew since."""
        if self.owner is not None:
            return not self.owner.alive
        hosts = self.hosts()
        return bool(hosts) and not any(host.root.is_mount() for host in hosts)
