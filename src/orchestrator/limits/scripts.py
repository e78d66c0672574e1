"""The scripts of the limiter: calls that come together go to Redis together, four for half the processor time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import redis.asyncio as redis
from redis.exceptions import NoScriptError, ResponseError

ANSWER_SECONDS = 2.0  # Redis must not hold up a call that it only counts
MOST = 64  # calls in one round trip

_NAMES = ("acquire", "settle", "adjust", "renew", "leave")


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    name: str
    keys: Sequence[str]
    args: Sequence[Any]
    answer: asyncio.Future[Any]


class Scripts:
    """One for a client. One round trip is under way at a time, and who calls meanwhile goes with the next."""

    def __init__(self, client: redis.Redis) -> None:
        folder = files("orchestrator.limits") / "lua"
        self._client = client
        self._scripts = {
            name: client.register_script((folder / f"{name}.lua").read_text(encoding="utf-8")) for name in _NAMES
        }
        self._loaded = False  # by us, into the Redis there was then
        self._due: list[_Call] = []
        self._trips: asyncio.Task[None] | None = None

    async def call(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Return what the script returns.

        Raises what redis-py raises, or TimeoutError when Redis is silent for two seconds; that a round trip failed is
        told to those who wait for the next one, too. A caller that is cancelled may have called all the same.
        """
        loop = asyncio.get_running_loop()
        call = _Call(name, keys, args, loop.create_future())
        self._due.append(call)
        if self._trips is None or self._trips.done():
            self._trips = loop.create_task(self._travel())
        return await call.answer

    async def _travel(self) -> None:
        while self._due:
            calls, self._due = self._due[:MOST], self._due[MOST:]
            try:
                await self._send(calls)
            except Exception as error:
                # whoever asked meanwhile would only find out the same, one after another
                for call in (*calls, *self._due):
                    _tell(call, error)
                self._due = []

    async def _send(self, calls: Sequence[_Call]) -> None:
        pipe = self._client.pipeline(transaction=False)
        loads = [] if self._loaded else list(self._scripts.values())
        for script in loads:
            pipe.script_load(script.script)
        for call in calls:
            pipe.evalsha(self._scripts[call.name].sha, len(call.keys), *call.keys, *call.args)
        async with asyncio.timeout(ANSWER_SECONDS):
            answers = (await pipe.execute(raise_on_error=False))[len(loads) :]
        self._loaded = not any(isinstance(answer, NoScriptError) for answer in answers)
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, NoScriptError):  # Redis began anew
                await self._again(call)
            else:
                _tell(call, answer)

    async def _again(self, call: _Call) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                _tell(call, await self._scripts[call.name](call.keys, call.args))
        except ResponseError as error:
            _tell(call, error)


def _tell(call: _Call, answer: Any) -> None:
    if call.answer.done():
        return
    if isinstance(answer, Exception):
        call.answer.set_exception(answer)
    else:
        call.answer.set_result(answer)
