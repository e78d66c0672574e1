"""When the nemesis kills the API: in the middle of a submission, of which several producers have some at a time."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from chaos import nemesis
from chaos.fleet import Fleet
from chaos.nemesis import Nemesis
from chaos.plan import Fault, Job
from chaos.producer import StreamProducers
from chaos.sending import Sending

from tests.support.wait import wait_until

KILL = Fault(at=0.0, kind="api kill", target=0, seconds=0.0, chance=1.0)


class Doomed:
    """An API that is killed; stands in for its unit."""

    def __init__(self) -> None:
        self.hits: list[signal.Signals] = []

    async def hit(self, number: signal.Signals) -> None:
        """Remember the signal."""
        self.hits.append(number)


async def killed(sending: Sending) -> Nemesis:
    """Return a nemesis that has killed the API once."""
    api = Doomed()
    made = Nemesis(cast(Fleet, SimpleNamespace(api=api, busy={"api": asyncio.Lock()}, cannot=frozenset())), sending)
    await made.run((KILL,), 0.0, 1.0)
    assert api.hits == [signal.SIGKILL] and made.done == {"api kill": 1} and not made.failed
    return made


async def test_a_submission_is_under_way_until_the_last_has_its_answer() -> None:
    """One event was shared by all producers: the first to finish cleared it for the others, whose submissions were then
    no longer seen by who was to kill the API in the middle of them.
    """
    answers: dict[str, asyncio.Event] = {"first": asyncio.Event(), "second": asyncio.Event()}

    async def answer(request: httpx.Request) -> httpx.Response:
        name = request.headers["Idempotency-Key"]
        await answers[name].wait()
        return httpx.Response(httpx.codes.ACCEPTED, json={"job_id": name})

    fleet = SimpleNamespace(api_url="http://api", redis_url="redis://127.0.0.1:1/0", emptied_ms=0)
    producers = StreamProducers(cast(Any, fleet), "s")
    producers._http = httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(answer))
    submitted = {n: asyncio.create_task(producers.submit(Job(0.0, n, "alpha", ("ok",)))) for n in answers}

    async def under_way() -> bool:
        return bool(producers.sending)

    await wait_until(under_way, what="a submission")
    answers["first"].set()
    await submitted["first"]
    assert producers.sending
    assert (await killed(producers.sending)).amid == 1
    answers["second"].set()
    await submitted["second"]
    assert not producers.sending
    await producers.close()


async def test_a_kill_waits_for_a_submission_that_lasts() -> None:
    """The API was killed a moment after a submission had begun, whether or not that had ended by then."""
    sending = Sending()
    with sending:
        waiting = asyncio.create_task(sending.amid(0.02))
        await asyncio.wait([waiting], timeout=0.005)
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    with sending:
        await waiting


async def test_a_kill_that_meets_no_submission_is_not_counted_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run says how many did."""
    monkeypatch.setattr(nemesis, "PATIENCE_SECONDS", 0.05)
    assert (await killed(Sending())).amid == 0
