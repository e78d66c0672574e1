"""Announcements: in their order, once each, whoever gives up waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.announcements import Announcements
from orchestrator.errors import DependencyError


class Book:
    """What the ledger would have; writing takes until `open` is set, and may fail."""

    def __init__(self) -> None:
        self.written: list[tuple[str, tuple[str, ...], tuple[int, ...]]] = []
        self.open = asyncio.Event()
        self.away = False

    async def write(self, kind: str, consumers: Sequence[str], tasks: Sequence[int]) -> None:
        await self.open.wait()
        if self.away:
            raise DependencyError("PostgreSQL does not answer")
        self.written.append((kind, tuple(consumers), tuple(tasks)))


async def test_x09_a_heartbeat_cancelled_while_telling_loses_nothing() -> None:
    """A drain ends the heartbeat; when that was just writing, the first start of the slots was never told."""
    book = Book()
    announcements = Announcements(book.write)
    for consumer in ("a", "b"):
        announcements.add("started", consumer, 0)
    beat = asyncio.create_task(announcements.tell())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    beat.cancel()
    await asyncio.wait((beat,))
    announcements.add("stopped", "a", 5)
    book.open.set()
    await announcements.tell()
    assert book.written == [("started", ("a", "b"), (0, 0)), ("stopped", ("a",), (5,))]


async def test_what_could_not_be_written_is_kept_in_its_place() -> None:
    """An outage delays, and reorders nothing."""
    book = Book()
    book.open.set()
    announcements = Announcements(book.write)
    announcements.add("started", "a", 0)
    book.away = True
    with pytest.raises(DependencyError):
        await announcements.tell()
    announcements.add("stopped", "a", 3)
    announcements.add("started", "a", 0)
    book.away = False
    await announcements.tell()
    await announcements.tell()
    assert [kind for kind, *_ in book.written] == ["started", "stopped", "started"]
