"""The event log and its follower: no event missed, none repeated, whatever order transactions commit in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import asyncpg
import pytest

from orchestrator.errors import DependencyError
from orchestrator.events.follow import Follower, Subscription
from orchestrator.events.log import Event, EventLog
from orchestrator.ledger import Ledger
from tests.support.jobs import new_job
from tests.support.link import link_to
from tests.support.servers import Server
from tests.support.wait import wait_until

INSERT = "INSERT INTO events (tenant, type, data) VALUES ('lab', $1, '{}') RETURNING seq"


@asynccontextmanager
async def following(
    ledger: Ledger, log: EventLog | None = None, **values: Any
) -> AsyncIterator[tuple[Follower, EventLog]]:
    """Give a fast follower and its log."""
    log = log or EventLog(ledger.database)
    follower = Follower(log, **{"poll_seconds": 0.01, **values})
    yield follower, log
    follower.close()


async def take(subscription: Subscription, count: int) -> list[str]:
    """Return the types of the next `count` events."""
    found: list[str] = []
    async with asyncio.timeout(15):
        while len(found) < count:
            batch = await subscription.batch()
            assert batch, "the subscription ended"
            found += [event.type for event in batch]
    return found


async def test_events_come_live_and_in_order(ledger: Ledger) -> None:
    """From now on, without an id; each event has what was written."""
    async with following(ledger) as (follower, log):
        await log.append("worker.started", {"consumer": "before"})
        subscription = await follower.subscribe()
        await log.append("worker.started", {"consumer": "h-0"}, tenant="lab")
        async with asyncio.timeout(10):
            (event,) = await subscription.batch()
        assert (event.type, event.data, event.tenant) == ("worker.started", {"consumer": "h-0"}, "lab")
        assert event.seq == await log.watermark() == follower.watermark


async def test_a_lower_seq_that_becomes_visible_later_is_not_missed(ledger: Ledger, database: str) -> None:
    """Two transactions commit out of order: the higher seq waits for the lower one, and both come in order."""
    slow, fast = await asyncpg.connect(database), await asyncpg.connect(database)
    async with following(ledger) as (follower, log):
        subscription = await follower.subscribe()
        transaction = slow.transaction()
        await transaction.start()
        lower = await slow.fetchval(INSERT, "lower")
        higher = await fast.fetchval(INSERT, "higher")
        assert lower < higher and await log.watermark() == higher
        pending = asyncio.create_task(take(subscription, 2))
        await wait_until(lambda: _gap_noticed(follower), what="the gap is noticed")
        done, _ = await asyncio.wait({pending}, timeout=0.2)
        assert not done and follower.watermark < lower
        await transaction.commit()
        assert await pending == ["lower", "higher"]
    await slow.close()
    await fast.close()


async def _gap_noticed(follower: Follower) -> bool:
    return follower.waiting


async def test_a_gap_of_a_rolled_back_transaction_is_passed(ledger: Ledger, database: str) -> None:
    """A seq once taken never comes back; foreign transactions that write no event hold nobody up."""
    writer, idle = await asyncpg.connect(database), await asyncpg.connect(database)
    await idle.execute("CREATE TABLE elsewhere (n int)")
    other = idle.transaction()
    await other.start()
    await idle.execute("INSERT INTO elsewhere VALUES (1)")
    async with following(ledger) as (follower, log):
        subscription = await follower.subscribe()
        transaction = writer.transaction()
        await transaction.start()
        await writer.fetchval(INSERT, "never")
        await log.append("after", {}, tenant="lab")
        await wait_until(lambda: _gap_noticed(follower), what="the gap is noticed")
        await transaction.rollback()
        assert await take(subscription, 1) == ["after"]
    await other.rollback()
    await writer.close()
    await idle.close()


async def test_a_subscriber_that_begins_while_a_lower_seq_is_on_its_way_gets_it(ledger: Ledger, database: str) -> None:
    """The first watermark waits for writers too: replay and live leave no hole between them."""
    slow = await asyncpg.connect(database)
    async with following(ledger) as (follower, log):
        await log.append("first", {}, tenant="lab")
        seen = await log.watermark()
        transaction = slow.transaction()
        await transaction.start()
        await slow.fetchval(INSERT, "lower")
        await log.append("higher", {}, tenant="lab")
        starting = asyncio.create_task(follower.subscribe(seen))
        done, _ = await asyncio.wait({starting}, timeout=0.2)
        assert not done
        await transaction.commit()
        assert await take(await starting, 2) == ["lower", "higher"]
    await slow.close()


async def test_a_slow_reader_falls_back_to_the_ledger(ledger: Ledger) -> None:
    """Its queue is bounded; what did not fit is read from the table, in order and once."""
    async with following(ledger, queue_size=3) as (follower, log):
        subscription = await follower.subscribe()
        await log.append("e0", {})
        assert await take(subscription, 1) == ["e0"]
        for i in range(1, 21):
            await log.append(f"e{i}", {})
        last = await log.watermark()

        async def caught_up() -> bool:
            return follower.watermark == last

        await wait_until(caught_up, what="the follower has read all")
        assert subscription.held <= 3
        await log.append("e21", {})
        assert await take(subscription, 21) == [f"e{i}" for i in range(1, 22)]


async def test_replay_filters_by_job_and_tenant(ledger: Ledger) -> None:
    """After an id, only what the subscriber may and wants to see; then live by the same filter."""
    mine, other = new_job(1, tenant="alpha"), new_job(1, tenant="beta")
    async with following(ledger) as (follower, log):
        for job in (mine, other):
            await ledger.jobs.create(job)
        await log.append("worker.started", {})
        of_job = await follower.subscribe(0, job_id=mine.job_id)
        of_tenant = await follower.subscribe(0, tenant="beta")
        of_all = await follower.subscribe(0)
        await ledger.jobs.cancel(other.job_id)
        await ledger.jobs.cancel(mine.job_id)
        assert await take(of_job, 2) == ["ingestion.queued", "ingestion.cancelled"]
        assert await take(of_tenant, 2) == ["ingestion.queued", "ingestion.cancelled"]
        assert len(await take(of_all, 5)) == 5


async def test_an_id_of_another_life_of_the_ledger_means_now(ledger: Ledger) -> None:
    """A restored database has lower seqs than its clients remember; they must not wait for ever."""
    async with following(ledger) as (follower, log):
        await log.append("old", {})
        subscription = await follower.subscribe(10**12)
        await log.append("new", {})
        assert await take(subscription, 1) == ["new"]


class HeldLog(EventLog):
    """A log whose follower does not read while the test has the lock."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.database)
        self.reading = asyncio.Lock()

    async def after(self, seq: int, *, upto: int | None = None, **values: Any) -> list[Event]:
        """Return events; who follows the log gives no `upto`."""
        async with self.reading if upto is None else nullcontext():
            return await super().after(seq, upto=upto, **values)


async def test_an_id_from_a_process_that_is_ahead_repeats_nothing(ledger: Ledger) -> None:
    """A client moves between two API processes; the second has not read as far as the first."""
    async with following(ledger, held := HeldLog(ledger)) as (behind, log):
        first = await behind.subscribe()
        await log.append("start", {})
        assert await take(first, 1) == ["start"]
        async with held.reading:
            await log.append("seen elsewhere", {})
            last = await log.watermark()
            subscription = await behind.subscribe(last)
            assert behind.watermark < last
            await log.append("new", {})
        assert await take(subscription, 1) == ["new"]
        assert await take(first, 2) == ["seen elsewhere", "new"]


async def test_the_ledger_is_read_only_while_somebody_listens(ledger: Ledger) -> None:
    """The last subscriber takes the polling with it; the next one starts it again."""
    async with following(ledger) as (follower, log):
        assert not follower.running
        for name in ("one", "two"):
            subscription = await follower.subscribe()
            await log.append(name, {})
            assert await take(subscription, 1) == [name] and follower.running
            subscription.close()
            assert not follower.running and follower.subscribers == 0
            assert await subscription.batch() == []
            await log.append("unheard", {})


WRITERS, EACH = 6, 40
EXPECTED = {f"{n}.{i}" for n in range(WRITERS) for i in range(EACH) if i % 5 != 4}


async def write(ledger: Ledger, number: int) -> None:
    """Write events, each in a transaction; every fifth is rolled back."""
    for i in range(EACH):
        with suppress(ZeroDivisionError):
            async with ledger.database.transaction() as connection:
                await connection.execute(INSERT.removesuffix(" RETURNING seq"), f"{number}.{i}")
                await asyncio.sleep(0.001 * (number % 3))
                if i % 5 == 4:
                    raise ZeroDivisionError


async def read(follower: Follower, patience: int) -> list[str]:
    """Read all events, leaving and coming back with the last id after `patience` batches."""
    last = 0
    found: list[str] = []
    while len(found) < len(EXPECTED):
        subscription = await follower.subscribe(last)
        for _ in range(patience):
            for event in await subscription.batch() if len(found) < len(EXPECTED) else []:
                found.append(event.type)
                last = event.seq
        subscription.close()
    return found


async def test_many_writers_and_readers_that_reconnect_see_every_event_once(ledger: Ledger) -> None:
    """Writers commit and roll back at random; readers leave and resume with their last id at any moment."""
    async with following(ledger, queue_size=7) as (follower, _), asyncio.timeout(40):
        readers = [asyncio.create_task(read(follower, patience)) for patience in (1, 3, 1000)]
        await asyncio.gather(*(write(ledger, n) for n in range(WRITERS)))
        for found in await asyncio.gather(*readers):
            assert len(found) == len(EXPECTED) and set(found) == EXPECTED
            for n in range(WRITERS):
                mine = [int(f.split(".")[1]) for f in found if f.startswith(f"{n}.")]
                assert mine == sorted(mine)


async def test_the_follower_goes_on_after_postgresql_was_away(
    ledger: Ledger, postgres_process: Server, database: str
) -> None:
    """Subscribers keep waiting; a new one is told; afterwards every event comes."""
    async with link_to(postgres_process.port) as link:
        remote = await Ledger.open(database.replace(str(postgres_process.port), str(link.port)))
        async with following(remote) as (follower, log):
            subscription = await follower.subscribe()
            await EventLog(ledger.database).append("before", {})
            assert await take(subscription, 1) == ["before"]
            await link.cut()
            with pytest.raises(DependencyError):
                await Follower(log).subscribe()
            await EventLog(ledger.database).append("meanwhile", {})
            await link.mend()
            assert await take(subscription, 1) == ["meanwhile"]
        await remote.close()
