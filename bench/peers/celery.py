"""Celery: kombu over a list, one script and a hash a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.signals import worker_ready

PACKAGE = "celery"
SETTING = "--pool solo, acks_late, prefetch multiplier 64, ignore_result, no gossip, mingle or heartbeat"
LEFT = "return redis.call('llen', 'celery') + redis.call('hlen', 'unacked')"


def nothing() -> None:
    """Stand for the job where it is only enqueued."""


def app(url: str, job: Callable[[], None]) -> tuple[Any, Any]:
    """Return an app and its task."""
    made: Any = Celery("bench", broker=url)
    made.conf.update(
        task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=64, worker_hijack_root_logger=False
    )
    return made, made.task(name="noop")(job)


def enqueue(url: str, count: int) -> None:
    """Add the jobs."""
    made, task = app(url, nothing)
    with made.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            task.apply_async(producer=producer)


def work(url: str, done: Callable[[], None], ready: Callable[[], None]) -> None:
    """Run the worker."""
    made, _ = app(url, done)
    worker_ready.connect(lambda **_: ready(), weak=False)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    made.worker_main(["worker", "--pool", "solo", *quiet])
