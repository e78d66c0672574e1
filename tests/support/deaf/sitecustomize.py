"""Makes the process that finds this on its path deaf: reads of its streams bring nothing, as over a half-dead line."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline


async def _nothing(self: Any, *args: Any, block: int | None = None, **options: Any) -> list[Any]:
    await asyncio.sleep((block or 0) / 1000)
    return []


def _queue_nothing(self: Any, *args: Any, **options: Any) -> Any:
    return self.execute_command("PING")


Redis.xreadgroup = _nothing  # type: ignore[method-assign,assignment]
Pipeline.xreadgroup = _queue_nothing  # type: ignore[method-assign]
