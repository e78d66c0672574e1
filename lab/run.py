"""A run: some hosts, a bridge and a key that belong together and go together."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import guest, network, process
from lab.host import Host
from lab.shell import LabError, run
from lab.state import RUNS, locked, read, write

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the lab."""

    name: str
    number: int
    directory: Path

    @classmethod
    def open(cls, name: str) -> Run:
        """Return a run, made if there is none; its number, and with it bridge and subnet, is nobody else's."""
        if not NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a run: lower-case letters, digits and -, at most 31")
        directory = RUNS / name
        with locked():
            number = read(directory / "run.json").get("number")
            if number is None:
                taken = {read(path).get("number", 0) for path in RUNS.glob("*/run.json")}
                number = network.free_number(taken, network.links())
                directory.mkdir(parents=True, exist_ok=True)
                owner = os.getppid()
                write(directory / "run.json", {"number": number, "owner": owner, "start": process.started(owner)})
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "key"))
            network.up(number)
        return cls(name, number, directory)

    @classmethod
    def find(cls, name: str) -> Run:
        """Return an existing run. Raises LabError when there is none of that name."""
        number = read(RUNS / name / "run.json").get("number")
        if number is None:
            known = ", ".join(r.name for r in cls.all()) or "none"
            raise LabError(f"no run {name!r}; there are: {known}")
        return cls(name, number, RUNS / name)

    @classmethod
    def all(cls) -> Iterator[Run]:
        """Yield every run."""
        for path in sorted(RUNS.glob("*/run.json")):
            if (number := read(path).get("number")) is not None:
                yield cls(path.parent.name, number, path.parent)

    def hosts(self) -> list[Host]:
        """Return the hosts of this run."""
        known = sorted((self.directory / "hosts").glob("*/index.json"))
        return [Host(p.parent.name, self.name, self.number, read(p)["index"], p.parent) for p in known]

    def host(self, name: str) -> Host:
        """Return a host. Raises LabError when there is none of that name."""
        for host in self.hosts():
            if host.name == name:
                return host
        known = ", ".join(h.name for h in self.hosts()) or "none"
        raise LabError(f"run {self.name} has no host {name!r}; it has: {known}")

    def up(self, name: str, suite: str) -> Host:
        """Return a running host of that name, made and booted if need be."""
        if not NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a host")
        directory = self.directory / "hosts" / name
        if not (directory / "index.json").exists():
            directory.mkdir(parents=True, exist_ok=True)
            index = max((h.index for h in self.hosts()), default=0) + 1
            write(directory / "index.json", {"index": index})
        host = self.host(name)
        if not (directory / "host.json").exists():
            host.create(suite, self.directory / "key.pub")
        host.start()
        return host

    def inventory(self) -> str:
        """Return an Ansible inventory of the hosts, as JSON, which is YAML."""
        options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        hosts = {
            h.name: {
                "ansible_host": h.address,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(self.directory / "key"),
                "ansible_ssh_common_args": options,
                "lab_run": self.name,
                "lab_uv_cache": guest.UV_CACHE,
            }
            for h in self.hosts()
        }
        return json.dumps({"orchestrators": {"hosts": hosts}}, indent=2) + "\n"

    def down(self) -> None:
        """Remove the run and everything of it."""
        for host in self.hosts():
            host.destroy()
        with locked():
            network.down(self.number)
            shutil.rmtree(self.directory, ignore_errors=True)

    def abandoned(self) -> bool:
        """Return whether nothing of it runs and whoever began it is gone."""
        known = read(self.directory / "run.json")
        began = process.alive(known.get("owner", 0), known.get("start") or -1)
        return not began and not any(h.alive() for h in self.hosts())
