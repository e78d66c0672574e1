"""Wait for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def wait_until(condition: Callable[[], Awaitable[T]], *, within: float = 20.0, what: str = "condition") -> T:
    """Return the first truthy value of the condition. Raises AssertionError with the last value after `within` s."""
    limit = time.monotonic() + within
    while True:
        value = await condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"{what} did not come true within {within:g} s; last value: {value!r}")
        await asyncio.sleep(0.02)
