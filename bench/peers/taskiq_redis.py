"""taskiq with taskiq-redis: a stream with a consumer group; its entries stay there when they are acked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvloop
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

PACKAGE = "taskiq-redis"
SETTING = "RedisStreamBroker, max_async_tasks=100, xread_count=100, no result backend, uvloop"
LEFT = """
local left = 0
for _, group in ipairs(redis.call('xinfo', 'groups', 'taskiq')) do
  for i = 1, #group, 2 do
    if group[i] == 'pending' or group[i] == 'lag' then left = left + group[i + 1] end
  end
end
return left
"""
SOME = 100


async def nothing() -> None:
    """Stand for the job where it is only enqueued."""


def broker(url: str, job: Callable[[], Any]) -> tuple[Any, Any]:
    """Return a broker and its task."""
    made: Any = RedisStreamBroker(url, consumer_id="0")
    return made, made.register_task(job, task_name="noop")


def enqueue(url: str, count: int) -> None:
    """Add the jobs."""

    async def add() -> None:
        made, task = broker(url, nothing)
        await made.startup()
        for _ in range(0, count, SOME):
            await asyncio.gather(*(task.kiq() for _ in range(SOME)))
        await made.shutdown()

    uvloop.run(add())


def work(url: str, done: Callable[[], None], ready: Callable[[], None]) -> None:
    """Run the worker."""

    async def noop() -> None:
        done()

    async def run() -> None:
        made, _ = broker(url, noop)
        await made.startup()
        ready()
        await run_receiver_task(made, max_async_tasks=100)

    uvloop.run(run())
