"""The limiter against a model server that queues, hangs or counts: what it learns from answers, and when it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from orchestrator.handlers.lightrag import endpoints
from orchestrator.handlers.lightrag.endpoints import Endpoints
from orchestrator.limits.pair import Limiters
from orchestrator.limits.view import limits_of
from orchestrator.settings import LightRAGSettings
from orchestrator.sources.redis_client import connect
from orchestrator.tasks import end
from tests.support.model_server import ModelServer, model_server
from tests.support.throttling import Gate
from tests.support.wait import wait_until

MOST = 8
"""Calls at once that the settings allow, and with which the limiter begins."""

LONG = 120.0
"""A limit moves with the answers that come in: on a busy machine they are few."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """A model server of the test's own."""
    with model_server() as made:
        yield made


@asynccontextmanager
async def asking(model: ModelServer, redis_url: str, callers: int, **changes: Any) -> AsyncIterator[None]:
    """Ask the model from so many callers at once, of two processes, again and again; errors are nobody's here."""
    settings = LightRAGSettings(
        llm_base_url=model.url,
        embedding_base_url=model.url,
        max_parallel_insert=MOST // 2,
        llm_max_concurrency=changes.pop("llm_max_concurrency", MOST),
        **changes,
    )
    limiters = [Limiters(settings, redis_url) for _ in range(2)]
    made = [Endpoints(settings, llm_key=None, embedding_key=None, limiters=one) for one in limiters]

    async def ask(caller: int) -> None:
        while True:
            with suppress(TimeoutError):
                await made[caller % 2].complete(f"Who is number {caller}?")

    asked = [asyncio.create_task(ask(caller)) for caller in range(callers)]
    try:
        yield
    finally:
        await end(asked)
        for one in made:
            await one.close()
        for limiter in limiters:
            await limiter.close()


async def limit_is(redis_url: str, least: int, most: int) -> bool:
    """Return whether the language model is given so many calls at once."""
    client = connect(redis_url)
    try:
        return any(least <= view.limit <= most for view in await limits_of(client) if view.kind == "llm")
    finally:
        await client.aclose()


async def answered(gate: Gate, count: int) -> bool:
    """Return whether the server has answered so many calls."""
    return gate.answered >= count


async def test_a_server_that_queues_is_given_less_until_it_is_quick_again(model: ModelServer, redis_url: str) -> None:
    """It refuses nothing, and each answer only takes longer: what is sent to it beyond that waits there, not here.

    Its quick answers are long beside what a busy machine adds to them: else the queue is not seen for the noise.
    """
    model.gate = gate = Gate(capacity=MOST, latency=0.3, queues=True)
    async with asking(model, redis_url, 12):
        await wait_until(lambda: answered(gate, 5 * MOST), what="a time of quick answers")
        await wait_until(lambda: limit_is(redis_url, MOST, MOST), within=LONG, what="the limit to be reached")
        gate.capacity = 1
        await wait_until(lambda: limit_is(redis_url, 1, MOST // 2), within=LONG, what="the limit to fall")
        gate.capacity = MOST
        await wait_until(lambda: limit_is(redis_url, MOST - 1, MOST), within=LONG, what="the limit to rise again")
    assert gate.throttled == 0


async def test_a_server_that_hangs_is_given_less_until_it_answers_again(
    model: ModelServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls end by their time-outs alone: by then each has cost that long, so that few shall try."""
    monkeypatch.setattr(endpoints, "TRIES_AGAIN", 0)
    model.gate = gate = Gate(capacity=1000, latency=0.2)  # long beside what a busy machine adds: else that is overload
    async with asking(model, redis_url, 12, llm_timeout_seconds=1.5):
        await wait_until(lambda: answered(gate, 2 * MOST), what="a time of quick answers")
        gate.hangs = True
        await wait_until(lambda: limit_is(redis_url, 1, 2), within=LONG, what="the limit to fall")
        gate.hangs = False
        await wait_until(lambda: limit_is(redis_url, MOST - 1, MOST), within=LONG, what="the limit to rise again")


CAPS = pytest.mark.parametrize(
    ("cap", "amount", "each"),
    [("requests_per_minute", 60, 1), ("tokens_per_minute", 600, 6)],
    ids=["requests", "tokens"],
)


@CAPS
async def test_a_server_that_counts_never_has_to_refuse(
    model: ModelServer, redis_url: str, cap: str, amount: int, each: int
) -> None:
    """With its caps in our settings, two processes and a hundred callers that want more at once than a minute has.

    A bucket of a whole minute, as most are, lets that much through and then refills: two minutes' worth in one. Ours
    lets a tenth through, and then what the rest of the minute has left: to find that out nobody has to wait a minute.
    """
    values: dict[str, Any] = {cap: amount}
    model.gate = gate = Gate(capacity=1000, latency=0.01, **values)
    async with asking(model, redis_url, 100, llm_max_concurrency=100, **{f"llm_{cap}": amount}):
        began = time.monotonic()

        await wait_until(lambda: answered(gate, 9), what="calls beyond the first ones")
        took = time.monotonic() - began
    assert gate.throttled == 0
    assert gate.answered * each <= amount * (0.1 + 0.9 * took / 60) + 3 * each


@CAPS
async def test_without_its_caps_in_the_settings_it_refuses(
    model: ModelServer, redis_url: str, cap: str, amount: int, each: int
) -> None:
    """The proof that the server of the test before counts at all."""
    values: dict[str, Any] = {cap: amount}
    model.gate = gate = Gate(capacity=1000, latency=0.01, retry_after=60.0, **values)
    async with asking(model, redis_url, 100, llm_max_concurrency=100):

        async def refused() -> bool:
            return gate.throttled > 0

        await wait_until(refused, what="a refusal")
