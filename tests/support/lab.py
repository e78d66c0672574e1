"""The lab as people use it: by its command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS = 240.0
SSH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Lab:
    """One run of the lab. The hosts live until `down`, at most as long as the test process and the next prune."""

    run: str
    inventory: Path
    owner: int = os.getpid()

    def line(self, command: str, *words: str) -> list[str]:
        """Return the command line of a command; it runs in PROJECT."""
        return [sys.executable, "-m", "lab", command, "--run", self.run, *words]

    def try_(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Do a command and return how it ended."""
        return _done(self.line(command, *words))

    def __call__(self, command: str, *words: str) -> str:
        """Do a command and return what it printed."""
        done = self.try_(command, *words)
        assert done.returncode == 0, f"lab {command} {' '.join(words)} failed: {done.stderr}{done.stdout}"
        return done.stdout

    def up(self, *words: str) -> str:
        """Boot hosts that end with us."""
        return self("up", "--owner", str(self.owner), "--inventory", str(self.inventory), *words)

    def exec(self, name: str, *command: str) -> str:
        """Run a command in a host and return what it printed."""
        return self("exec", name, "--", *command)

    def variables(self, name: str) -> dict[str, Any]:
        """Return what the inventory says of a host."""
        found: dict[str, Any] = json.loads(self.inventory.read_text())["orchestrators"]["hosts"][name]
        return found

    def ssh(self, name: str, *command: str, seconds: float = 5.0) -> subprocess.CompletedProcess[str]:
        """Run a command in a host as Ansible would; 255 when it does not answer."""
        known = self.variables(name)
        options = [
            *known["ansible_ssh_common_args"].split(),
            "-o",
            f"ConnectTimeout={seconds:g}",
            "-o",
            "BatchMode=yes",
            "-o",
            "ServerAliveInterval=1",  # a host that goes down may leave a connection that nobody ends
            "-o",
            "ServerAliveCountMax=10",
        ]
        target = f"{known['ansible_user']}@{known['ansible_host']}"
        line = ["ssh", "-i", known["ansible_ssh_private_key_file"], *options, target, *command]
        try:
            return subprocess.run(line, check=False, capture_output=True, text=True, timeout=SSH_SECONDS)
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(line, 255, "", str(late))


def prune() -> str:
    """Prune, and return what it said."""
    done = _done([sys.executable, "-m", "lab", "prune"])
    assert done.returncode == 0, done.stderr
    return done.stdout


def _done(line: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, cwd=PROJECT, check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS)


def traces(number: int) -> list[str]:
    """Return everything on this machine that carries the names of a run with this number."""
    machine = re.compile(rf"\bo{number}-\d+\b|\bolab{number}\b|10\.231\.{number}\.")
    found = [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob("*/o*") if machine.fullmatch(path.name)]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob("o*") if machine.fullmatch(path.name)]
    found += [f"nspawn {path}" for path in Path("/run/systemd/nspawn").glob("propagate/*") if machine.match(path.name)]
    for command in (
        ["ip", "-oneline", "address"],
        ["ip", "-oneline", "link"],
        ["ip", "route"],
        ["iptables-save"],
        ["ps", "-eo", "args="],
        ["cat", "/proc/self/mounts"],
    ):
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found += [f"{command[0]}: {line}" for line in printed.splitlines() if machine.search(line)]
    return found


def eventually(condition: Callable[[], object], *, within: float = 20.0, what: str = "condition") -> None:
    """Wait until the condition holds. Raises AssertionError when it does not come true."""
    limit = time.monotonic() + within
    while not condition():
        assert time.monotonic() < limit, f"{what} did not come true within {within:g} s"
        time.sleep(0.05)
