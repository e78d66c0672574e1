"""What processes cost, as the kernel counts it: theirs and that of the processes they have started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NANOSECONDS = 1e9
KILOBYTES = 1024


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """Return the processor time of all threads of the tree that live."""
    spent = 0
    for each in tree(pid):
        for task in Path(f"/proc/{each}/task").glob("*/schedstat"):
            with suppress(OSError):
                spent += int(task.read_text().split()[0])
    return spent / NANOSECONDS


def rss_mb(pid: int) -> float:
    """Return how much memory a process has resident now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / KILOBYTES, 1)
    return 0.0
