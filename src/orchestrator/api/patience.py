"""Wait for an answer, and no longer: not even for the end of what does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, question: Awaitable[T]) -> T:
    """Return the answer. Raises TimeoutError on time, where asyncio.wait_for would wait for the cancelled to end.

    asyncpg, cancelled on a connection that has gone silent, asks the server to stop and waits for that too.
    """
    task = asyncio.ensure_future(question)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_take_note)
    if not done:
        raise TimeoutError
    return task.result()


def _take_note(task: asyncio.Future[T]) -> None:
    if not task.cancelled():
        task.exception()  # asked for, so that nobody warns of it
