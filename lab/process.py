"""Processes by id and start time: an id alone may be another's by now."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

STAT_STATE, STAT_START = 0, 19  # fields after the command's name


def started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[STAT_STATE] == "Z" else int(fields[STAT_START])


def alive(pid: int, start: int) -> bool:
    """Return whether it is still the same process."""
    return started(pid) == start


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def kill(pids: list[int], within: float = 10.0) -> None:
    """Kill processes at once and wait until they are gone."""
    starts = {pid: started(pid) for pid in pids}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    limit = time.monotonic() + within
    while any(s is not None and alive(p, s) for p, s in starts.items()) and time.monotonic() < limit:
        time.sleep(0.05)
