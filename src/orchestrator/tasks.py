"""End tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
AGAIN_SECONDS = 0.2


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until each has ended; their errors stay in them.

    Once is not enough: on Python 3.11 `asyncio.wait_for`, which the clients of Redis and PostgreSQL use, swallows a
    cancellation that arrives as its awaitable completes (CPython issue 86296), and the loop around it goes on.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)


async def within(seconds: float, act: Coroutine[Any, Any, T]) -> T:
    """Return what `act` returns. Raises TimeoutError when that takes longer, and then ends it for certain.

    `asyncio.timeout` cancels once, and asyncpg then waits for the server to confirm: a silent one never does.
    """
    task = asyncio.create_task(act)
    try:
        if not (await asyncio.wait((task,), timeout=seconds))[0]:
            raise TimeoutError
        return task.result()
    finally:
        await end((task,))
