"""A process by id and start time: an id alone may be another's by now."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
STATE, PARENT, START = 0, 1, 19  # fields after the command's name
POLL_SECONDS = 0.02


def _fields(pid: int) -> list[str]:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


@dataclass(frozen=True, slots=True)
class Process:
    """One process; `start` is in clock ticks since the machine's boot."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this id now; None when there is none, or it is a zombie."""
        fields = _fields(pid)
        return cls(pid, int(fields[START])) if fields and fields[STATE] not in "ZX" else None

    @classmethod
    def load(cls, record: Any) -> Process | None:
        """Return what `record` returned; None for anything else."""
        if isinstance(record, dict) and record.keys() >= {"pid", "start"}:
            return cls(int(record["pid"]), int(record["start"]))
        return None

    def record(self) -> dict[str, Any]:
        """Return it for a file."""
        return asdict(self)

    @property
    def alive(self) -> bool:
        """Whether it runs. A zombie does not, however late it is reaped."""
        return Process.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Signal this process, and never another that has got its id."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def children(pid: int) -> list[Process]:
    """Return the living children of a process."""
    ids = [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
    found = [Process.of(child) for child in ids if _fields(child)[PARENT : PARENT + 1] == [str(pid)]]
    return [process for process in found if process]


def kill(processes: Iterable[Process | None]) -> bool:
    """Kill them at once, in this order; return whether all are gone."""
    mine = [process for process in processes if process]
    for process in mine:
        process.send(signal.SIGKILL)
    return until(lambda: not any(process.alive for process in mine), within=10)


def until(condition: Callable[[], object], *, within: float) -> bool:
    """Wait until the condition holds; return whether it did."""
    limit = time.monotonic() + within
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(POLL_SECONDS)
    return True
