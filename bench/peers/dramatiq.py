"""dramatiq: threads over a list and a hash, by one script a job."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

PACKAGE = "dramatiq"
SETTING = "one process, worker_threads=8, its own middleware, no result backend"
LEFT = "return redis.call('hlen', 'dramatiq:default.msgs')"


def nothing() -> None:
    """Stand for the job where it is only enqueued."""


def broker(url: str, job: Callable[[], None]) -> tuple[Any, Any]:
    """Return a broker and its actor."""
    made: Any = RedisBroker(url=url)
    dramatiq.set_broker(made)
    return made, dramatiq.actor(job, actor_name="noop")


def enqueue(url: str, count: int) -> None:
    """Add the jobs."""
    _, actor = broker(url, nothing)
    for _ in range(count):
        actor.send()


def work(url: str, done: Callable[[], None], ready: Callable[[], None]) -> None:
    """Run the worker."""
    made, _ = broker(url, done)
    dramatiq.Worker(made, worker_threads=8).start()
    ready()
    signal.pause()
