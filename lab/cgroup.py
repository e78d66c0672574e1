"""A control group for each host: two nspawns started from one group would share it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lab.process import Process, kill, until

TOP = Path("/sys/fs/cgroup")
V1 = ("systemd", "unified", "memory", "cpu", "cpuacct", "pids")


def hierarchies() -> list[Path]:
    """Return the roots of all hierarchies that matter: one on cgroup v2, several on v1."""
    if (TOP / "cgroup.controllers").exists():
        return [TOP]
    return [TOP / name for name in V1 if (TOP / name).is_dir()]


def enter(name: str) -> None:
    """Put this process into a group of its own, in every hierarchy."""
    for root in hierarchies():
        with contextlib.suppress(OSError):  # v2: they are given already, or not ours to give
            (root / "cgroup.subtree_control").write_text("+cpu +memory +pids", encoding="ascii")
        (root / name).mkdir(exist_ok=True)
        (root / name / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def members(name: str) -> list[Process]:
    """Return the processes in a host's groups and below."""
    ids: set[int] = set()
    for root in hierarchies():
        for procs in (root / name).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                ids.update(int(word) for word in procs.read_text(encoding="ascii").split())
    found = [Process.of(pid) for pid in ids if pid]
    return [process for process in found if process]


def remove(name: str) -> bool:
    """Kill what is left in a host's groups and remove them; return whether they are gone."""
    kill(members(name))
    return until(lambda: not [root for root in hierarchies() if not _removed(root / name)], within=10)


def _removed(group: Path) -> bool:
    for path, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):  # busy: a process in it is not reaped yet
            Path(path).rmdir()
    return not group.exists()


def names() -> set[str]:
    """Return the names of all groups at the top."""
    return {path.name for root in hierarchies() for path in root.iterdir() if path.is_dir()}
