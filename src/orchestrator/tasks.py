"""End tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

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
