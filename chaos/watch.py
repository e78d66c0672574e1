"""What must be true at every moment, looked at during the run: between the ledger and what Redis holds."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import redis.asyncio as redis

from chaos.checker import check_settle
from chaos.findings import Finding
from chaos.fleet import TIMES, Fleet

PAUSE_SECONDS = 0.25
# InternalClientError: PostgreSQL has said that it ends the connection, which is then used once more
AWAY = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    redis.RedisError,
    OSError,
    TimeoutError,
)
SPARE_DELIVERIES = 3
MOST = 20_000
LOOKS_A_COUNT = 4  # the counters are compared less often: that reads every chunk
RUNNING = """
SELECT job_id, chunk_id, receipt, lease_token FROM chunks WHERE status = 'running' AND lease_token IS NOT NULL
"""


MISCOUNTED = """
SELECT j.job_id, j.processed, count(c.job_id) AS have
FROM jobs j LEFT JOIN chunks c ON c.job_id = j.job_id AND c.status = 'processed'
GROUP BY j.job_id HAVING j.processed <> count(c.job_id)
"""
SETTLED = "SELECT * FROM chaos_history WHERE id > $1 AND was = 'running' ORDER BY id LIMIT 20000"


@dataclass(slots=True)
class _Seen:
    """A pending entry as it was first seen in these hands."""

    consumer: str
    count: int
    at: float
    lives: int  # of the worker whose consumer it is


class Watch:
    """Looks at the ledger several times a second; what it cannot see at a moment it leaves out."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._found: dict[str, Finding] = {}
        self._postgres: asyncpg.Connection[asyncpg.Record] | None = None
        self._last = 0
        self.looks = 0

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, each once."""
        return list(self._found.values())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with suppress(*AWAY):
                await self._look()
            await asyncio.sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        if self._postgres is not None:
            self._postgres.terminate()

    async def _look(self) -> None:
        connection = await self._connection()
        self.looks += 1
        if self.looks % LOOKS_A_COUNT == 0:
            await self._look_back(connection)

    async def _connection(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._postgres is None or self._postgres.is_closed():
            self._postgres = await asyncpg.connect(self._fleet.dsn, timeout=3, command_timeout=3)
        return self._postgres

    async def _look_back(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Compare the counters, and look at what was settled since the last time."""
        for job_id, counted, have in await connection.fetch(MISCOUNTED):
            kind = "counted_twice" if counted > have else "lost"
            self._add(kind, f"job {job_id} counted other than it had processed", f"{counted}, {have}")
        for row in await connection.fetch(SETTLED, self._last):
            self._last = max(self._last, row["id"])
            for finding in check_settle(dict(row)):
                self._add(finding.kind, finding.what)

    def _add(self, kind: str, what: str, numbers: str = "") -> None:
        self._found.setdefault(what, Finding(kind, f"{what} {numbers}".rstrip()))


class StreamWatch(Watch):
    """Looks at our stream, too: what is at work by the ledger has to be in somebody's hands there."""

    def __init__(self, fleet: Fleet, stream: str, group: str) -> None:
        super().__init__(fleet)
        self._stream, self._group = stream, group
        self._seen: dict[str, _Seen] = {}
        self._redis = redis.Redis.from_url(fleet.redis_url, socket_timeout=2.0)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await super().close()

    async def _look(self) -> None:
        emptied = self._fleet.emptied
        before = await self._running()
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xinfo_groups(self._stream)
            pipe.xrange(self._stream, count=MOST)
            pipe.xpending_range(self._stream, self._group, "-", "+", MOST)
            groups, entries, pending = await pipe.execute()
        after = await self._running()
        if emptied % 2 or emptied != self._fleet.emptied:
            return
        await super()._look()
        ids = {entry.decode() for entry, _ in entries}
        self._check_early(before & after, ids)
        self._check_orphans(groups, ids, pending)
        self._check_counts(pending)

    async def _running(self) -> set[tuple[str, str, str, int]]:
        return {tuple(row) for row in await (await self._connection()).fetch(RUNNING)}

    def _check_early(self, running: set[tuple[str, str, str, int]], ids: set[str]) -> None:
        """A chunk is at work, and its entry has left the stream: nobody would take it over."""
        for job_id, chunk_id, receipt, token in running:
            if receipt not in ids and _milliseconds(receipt) > self._fleet.emptied_ms:
                self._add("lost", f"entry {receipt} of {job_id}/{chunk_id} left before it was settled ({token})")

    def _check_orphans(self, groups: list[dict[str, Any]], ids: set[str], pending: list[dict[str, Any]]) -> None:
        """An entry was read and is in nobody's hands: nobody will ever get it again."""
        last = next((g["last-delivered-id"].decode() for g in groups if g["name"].decode() == self._group), None)
        if last is None or len(pending) >= MOST:
            return
        held = {p["message_id"].decode() for p in pending}
        for entry in ids - held:
            if _order(entry) <= _order(last):
                self._add("lost", f"entry {entry} was read and is pending with nobody")

    def _check_counts(self, pending: list[dict[str, Any]]) -> None:
        """An entry in the same hands is delivered once a lease, and once a life: a renewal is no delivery."""
        now, seen = time.monotonic(), {}
        lives = {worker.unit.name: worker.unit.lives for worker in self._fleet.workers}
        for entry in pending:
            name, consumer = entry["message_id"].decode(), entry["consumer"].decode()
            count, known = int(entry["times_delivered"]), self._seen.get(name)
            if known is None or known.consumer != consumer:
                known = _Seen(consumer, count, now, lives[consumer.partition("-")[0]])
            seen[name] = known
            again = lives[consumer.partition("-")[0]] - known.lives
            if count - known.count > SPARE_DELIVERIES + again + (now - known.at) / TIMES["lease_seconds"]:
                self._add("penalised", f"entry {name} was delivered {count} times to {consumer} that held it")
        self._seen = seen


def _order(entry: str) -> tuple[int, int]:
    first, _, second = entry.partition("-")
    return int(first), int(second)


def _milliseconds(entry: str) -> int:
    return _order(entry)[0]
