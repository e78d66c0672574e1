"""The calls of the bullmq library by which one works without its worker loop: undocumented, so all of them are here.

tests/integration/test_bullmq_contract.py holds what we rely on; the version is pinned. Claims and settles go out in
one pipeline each, with the arguments that the library itself makes for its scripts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import redis.asyncio as redis
from bullmq import Job, Worker
from bullmq.scripts import raw2NextJobData
from redis.exceptions import NoPermissionError, RedisError

from orchestrator.sources.bullmq_jobs import LIFE, number, sound
from orchestrator.sources.redis_client import UNREACHABLE
from orchestrator.sources.server_clock import ServerClock

log = logging.getLogger("orchestrator.sources")

STATES = ("wait", "paused", "prioritized", "delayed", "active")
NEVER = 1 << 30
"""How often a job may stall before the queue fails it by itself: that is the ledger's to count."""
STALLED_MS = 3_000
"""How often the queue looks for jobs whose lock has lapsed, at most: what a dead worker held is late by no more."""
BLOCK_SECONDS = 0.002  # the shortest that a Redis before 7.0.8 does not take for ever
HAS_PENDING_CHILDREN, HAS_FAILED_CHILDREN, BROKEN = -4, -9, -100
"""Codes of a settle: a parent that may not be completed; a script that failed."""

ENDS = {"completed": ("returnvalue", "removeOnComplete"), "failed": ("failedReason", "removeOnFail")}
"""State -> the field of its outcome, and the option that says whether such jobs are kept."""

Call = tuple[str, list[Any], list[Any]]
"""(script, keys, arguments)"""


@dataclass(frozen=True, slots=True)
class Taken:
    """A job we hold the lock of."""

    job: Any
    token: str
    fields: Mapping[str, str]  # its hash as it was when it was taken


class BullQueue:
    """One queue. Methods raise what redis-py raises."""

    def __init__(self, client: redis.Redis, name: str, *, prefix: str, lock_ms: int) -> None:
        """`client` decodes its replies."""
        self._client = client
        self._lock_ms = lock_ms
        options = {"connection": client, "autorun": False, "lockDuration": lock_ms, "prefix": prefix}
        self._worker: Any = Worker(name, None, options)  # no processor: the loop is ours
        self._backend = self._worker.backend
        self._scripts = self._backend.scripts
        self._clock = ServerClock(self._server_time)
        self._due = 0.0  # when to look again, as the last look that found nothing said; 0: it did not
        self._empty = False  # whether the last look found nothing that may run

    async def _server_time(self) -> float:
        seconds, microseconds = await self._client.time()
        return float(seconds) + float(microseconds) / 1e6

    async def now(self) -> float:
        """Return the time of Redis, in seconds: what is delayed by a clock that is ahead would wait for days."""
        return await self._clock.now()

    async def take(self, tokens: Sequence[str]) -> list[Taken]:
        """Take as many jobs as may run, in one round trip, and lock each with one of the tokens."""
        now = await self.now()
        replies = await self._call([await self._move(token, now) for token in tokens])
        taken, broken = [], None
        for token, reply in zip(tokens, replies, strict=True):
            if isinstance(reply, RedisError):
                broken = reply
                continue
            found, job_id, limited_ms, due_ms = raw2NextJobData(reply)
            self._empty = not found
            if found:
                taken.append(Taken(Job.fromJSON(self._worker, sound(found), job_id), token, found))
            else:
                self._due = now + int(limited_ms) / 1000 if limited_ms else int(due_ms or 0) / 1000
        if broken is not None and not taken:  # what is taken is ours, whatever became of the rest
            raise broken
        for one in taken:
            if one.fields.get("rjk"):
                await self._schedule_next(one.fields, one.job.id)
        return taken

    async def _move(self, token: str, now: float) -> Call:
        """Return the call that takes a job: the library makes its arguments only where it calls the script itself.

        The time by which delayed jobs are due is the server's, not this host's.
        """
        calls: list[Call] = []

        async def note(keys: list[Any], args: list[Any]) -> None:
            prefix, _, options = args
            calls.append(("moveToActive", keys, [prefix, round(now * 1000), options]))

        noting = copy(self._scripts)
        noting.commands = {"moveToActive": note}
        await noting.moveToActive(token, self._worker.opts)
        return calls[0]

    async def _schedule_next(self, fields: Mapping[str, str], job_id: str) -> None:
        """Make the next iteration of a job scheduler; whoever takes one has to. Twice is no harm."""
        needed = {name: fields[name] for name in ("name", "data", "opts", "rjk") if name in fields}
        try:
            await self._worker._scheduleNextIteration(Job.fromJSON(self._worker, needed, job_id))
        except UNREACHABLE:
            raise
        except Exception as error:  # as the library does: a scheduler that is wrong stops no job
            kind = type(error).__name__
            log.warning("the next iteration of a job scheduler was not made", extra={"error": kind})

    async def arrived(self, seconds: float) -> None:
        """Wait until a job may have come or be due, at most so long."""
        if self._due:
            seconds = min(seconds, self._due - await self.now())
        if seconds > 0:
            await self._client.bzpopmin(self._backend.keys["marker"], timeout=max(BLOCK_SECONDS, seconds))

    async def extend(self, taken: Sequence[Taken]) -> list[str]:
        """Renew locks; return the ids of the jobs whose lock is not ours."""
        ids, tokens = [t.job.id for t in taken], [t.token for t in taken]
        lost: list[str] = await self._backend.extendLocks(ids, tokens, self._lock_ms)
        return lost

    async def missing(self, ids: Sequence[str]) -> list[str]:
        """Return which of these jobs are not in the queue any more."""
        async with self._client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.exists(self._backend.toKey(job_id))
            return [job_id for job_id, there in zip(ids, await pipe.execute(), strict=True) if not there]

    async def move_stalled(self) -> None:
        """Put jobs back whose lock has lapsed. The queue lets its workers look only so often, whoever asks."""
        await self._backend.moveStalledJobsToWait(NEVER, max(1, min(STALLED_MS, self._lock_ms // 2)))

    def completed(self, taken: Taken, value: Any) -> Call:
        """Return the call that completes a job."""
        return self._finished(taken, "completed", value, {})

    def failed(self, taken: Taken, reason: str) -> Call:
        """Return the call that fails a job for good."""
        return self._finished(taken, "failed", reason, {"failedReason": reason})

    def _finished(self, taken: Taken, state: str, value: Any, also: dict[str, str]) -> Call:
        field, option = ENDS[state]
        keep = taken.job.opts.get(option, False)
        fields = {**also, LIFE: str(number(taken.fields, LIFE) + 1)}
        keys, args = self._scripts.moveToFinishedArgs(taken.job, value, field, keep, state, taken.token, False, fields)
        return "moveToFinished", keys, args

    def later(self, taken: Taken, now: float, delay_ms: int, reason: str) -> Call:
        """Return the call that delays a job; with a reason it has failed once more, without it is only put off."""
        options = {"fieldsToUpdate": {"failedReason": reason}} if reason else {"skipAttempt": True}
        keys, args = self._scripts.moveToDelayedArgs(taken.job.id, round(now * 1000), taken.token, delay_ms, options)
        return "moveToDelayed", keys, args

    async def settle(self, calls: Sequence[Call]) -> list[int]:
        """Make the calls in one round trip; return their codes, negative where a job was not settled.

        What had no more room under the queue's own limits may run now: whoever waits is woken to look.
        """
        replies = await self._call(calls, wake=self._empty)
        return [_code(reply) for reply in replies]

    async def _call(self, calls: Sequence[Call], *, wake: bool = False) -> list[Any]:
        """Call scripts in one round trip; return their replies, were they errors of one script."""
        scripts = self._scripts.commands
        async with self._client.pipeline(transaction=False) as pipe:
            for name, keys, args in calls:
                await scripts[name](keys=keys, args=args, client=pipe)
            if wake:
                pipe.zadd(self._backend.keys["marker"], {"0": 0})
            replies = await pipe.execute(raise_on_error=False)
        if errors := [reply for reply in replies if isinstance(reply, (*UNREACHABLE, NoPermissionError))]:
            raise errors[0]
        return list(replies[: len(calls)])

    async def show(self, steps: Sequence[tuple[Taken, str]]) -> None:
        """Write how far jobs are, for QueueEvents and dashboards; what is gone is left."""
        for taken, step in steps:
            try:
                await self._backend.updateProgress(taken.job.id, {"step": step})
            except TypeError:  # the library's word for a job that is not there any more
                continue

    async def depth(self) -> int:
        """Return how many jobs wait, are delayed or are at work."""
        return sum(int(count) for count in await self._backend.getCounts(list(STATES)))

    async def revive(self, job_id: str) -> bool:
        """Put a failed job back, with all its attempts; return whether there was one."""
        fields = await self._backend.getJobData(job_id)
        if not fields:
            return False
        job = Job.fromJSON(self._worker, sound(fields), job_id)
        try:
            await self._backend.reprocessJob(job, "failed", {"resetAttemptsMade": True})
        except TypeError:  # it is there, and has not failed
            return False
        return True


def _code(reply: Any) -> int:
    """Return the code of a settle. A job that its script fails on is not to stop the others, nor the worker."""
    if isinstance(reply, RedisError):
        log.warning("a job was not settled at its queue: the script failed", extra={"error": str(reply)})
        return BROKEN
    return reply if isinstance(reply, int) else 0
