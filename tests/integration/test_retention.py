"""What is kept of events: all that is young, nothing that is old, however much there is of either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from orchestrator.events import log
from orchestrator.events.log import EventLog
from orchestrator.keys import lock_id
from orchestrator.ledger import Ledger
from tests.support.fleet import Fleet, fleet_over
from tests.support.wait import wait_until

KEPT_SECONDS = 3600.0
DAY_SECONDS = 24 * 3600.0
WRITE = """
    INSERT INTO events (type, data, at)
    SELECT $1, '{}', clock_timestamp() - $2 * interval '1 second' FROM generate_series(1, $3::int)
"""


async def written(ledger: Ledger, kind: str, age: float, count: int = 1) -> None:
    """Write events of an age."""
    await ledger.database.run(lambda c: c.execute(WRITE, kind, age, count))


async def left(ledger: Ledger) -> dict[str, int]:
    """Return how many events there are of each type."""
    rows = await ledger.database.run(lambda c: c.fetch("SELECT type, count(*) AS n FROM events GROUP BY type"))
    return {row["type"]: row["n"] for row in rows}


@pytest.mark.parametrize("old", [0, 1, log.PAGE - 1, log.PAGE, 4 * log.PAGE + 1])
async def test_all_that_is_old_goes_and_all_that_is_young_stays(ledger: Ledger, old: int) -> None:
    """However many: ten thousand went each minute, and a cluster that wrote more of them filled its disk."""
    await written(ledger, "old", KEPT_SECONDS + 60, old)
    await written(ledger, "young", KEPT_SECONDS - 60, 7)
    assert await EventLog(ledger.database).trim(KEPT_SECONDS) == old
    assert await left(ledger) == {"young": 7}
    assert await EventLog(ledger.database).trim(KEPT_SECONDS) == 0


async def test_what_stays_is_not_read(ledger: Ledger) -> None:
    """There is no index of times: to find nothing, each minute, on each worker, the whole table was read.

    The price: an old event behind a young one, of a transaction that took long, goes when the young one does.
    """
    await written(ledger, "young", 0, 100_000)
    await written(ledger, "behind", KEPT_SECONDS + 60)
    await ledger.database.run(lambda c: c.execute("ANALYZE events"))
    before = await read(ledger)
    assert await EventLog(ledger.database).trim(KEPT_SECONDS) == 0
    assert await read(ledger) - before <= 2 * log.PAGE
    assert await left(ledger) == {"young": 100_000, "behind": 1}


async def read(ledger: Ledger) -> int:
    """Return how many rows of events statements have read so far."""

    async def ask(connection: asyncpg.Connection[asyncpg.Record]) -> int:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return int(
            await connection.fetchval(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'events'"
            )
        )

    return await ledger.database.run(ask)  # type: ignore[arg-type]  # a proxy of a connection is one


async def test_one_process_of_the_cluster_is_at_it(ledger: Ledger, database: str) -> None:
    """The others do not queue up for the same rows: they leave it."""
    await written(ledger, "old", KEPT_SECONDS + 60, 3)
    other = await asyncpg.connect(database)
    await other.execute("SELECT pg_advisory_lock($1)", lock_id("events:trim"))
    assert await EventLog(ledger.database).trim(KEPT_SECONDS) == 0
    await other.close()

    async def gone() -> bool:
        return await EventLog(ledger.database).trim(KEPT_SECONDS) == 3

    await wait_until(gone, what="the lock of the closed connection to end")


@pytest.fixture
async def fleet(database: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers over the servers of the session."""
    async with fleet_over(database, redis_url, tmp_path) as made:
        yield made


async def test_a_worker_trims_beside_its_work(fleet: Fleet) -> None:
    """At each look of its reconciler, what is older than its settings say: thirty days."""
    await written(fleet.ledger, "old", 31 * DAY_SECONDS, 20_000)
    await written(fleet.ledger, "young", 29 * DAY_SECONDS, 5)

    async def trimmed() -> bool:
        return "old" not in await left(fleet.ledger)

    async with fleet.worker():
        assert (await fleet.ended(await fleet.submit(1))).processed == 1
        await wait_until(trimmed, what="the old events to go")
    assert (await left(fleet.ledger))["young"] == 5
