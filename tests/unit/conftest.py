"""Unit tests are of Python alone: who connects, listens or starts a process is told that its place is another suite."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

FOREIGN = ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.posix_spawn")
watching = False


def _watch(event: str, _: tuple[object, ...]) -> None:
    if watching and event in FOREIGN:
        raise RuntimeError(f"{event} in a unit test; move it to tests/integration or tests/acceptance")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def _python_alone() -> Iterator[None]:
    """Let an audit hook refuse the rest; it cannot be taken away, so it sleeps between unit tests."""
    global watching  # noqa: PLW0603
    watching = True
    yield
    watching = False
