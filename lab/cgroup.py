"""A control group for each host: two nspawns started from one group would share it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from lab.shell import LabError, run, succeeds
from lab.state import locked

TOP = Path("/sys/fs/cgroup")
V1 = ("systemd", "unified", "memory", "cpu", "cpuacct", "pids")
NEEDED = ("cpu", "cpuacct", "pids", "memory")


def hierarchies() -> list[Path]:
    """Return the roots of all hierarchies that matter: one on cgroup v2, several on v1."""
    if (TOP / "cgroup.controllers").exists():
        return [TOP]
    return [TOP / name for name in V1 if (TOP / name).is_dir()]


def enter(name: str) -> None:
    """Put this process into a group of its own."""
    for root in hierarchies():
        group = root / name
        group.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def remove(name: str) -> None:
    """Remove a host's groups; those still in use stay."""
    for root in hierarchies():
        group = root / name
        if group.is_dir():
            for path, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()


def give_controllers(leader: int) -> None:
    """Make MemoryMax and CPUQuota work in a host: on cgroup v1 nspawn mounts the controllers read-only.

    One host at a time, and only while its systemd answers: two re-executions at once fail at random. Raises LabError.
    """
    if (TOP / "cgroup.controllers").exists():
        return
    with locked("controllers.lock"):
        mounts = Path(f"/proc/{leader}/mounts").read_text(encoding="utf-8")
        if " /sys/fs/cgroup/memory cgroup rw" in mounts:
            return
        wait_for_systemd(leader)
        for name in NEEDED:
            run("nsenter", "-t", str(leader), "-m", "mount", "-o", "remount,bind,rw", f"/sys/fs/cgroup/{name}")
        # "not connected" only says that PID 1 re-executed before it replied
        command = ["nsenter", "-t", str(leader), "-a", "systemctl", "daemon-reexec"]
        subprocess.run(command, capture_output=True, check=False)
        wait_for_systemd(leader)


def wait_for_systemd(leader: int) -> None:
    """Wait until the host's systemd answers. Raises LabError."""
    limit = time.monotonic() + 30
    while not succeeds(["nsenter", "-t", str(leader), "-a", "systemctl", "show-environment"]):
        if time.monotonic() > limit:
            raise LabError("systemd in the host does not answer")
        time.sleep(0.1)
