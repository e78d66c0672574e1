"""Connections between two uses: kept for the next one, and for nobody who would have to wait for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest

from orchestrator import checkout
from orchestrator.checkout import Checkout
from tests.support.wait import wait_until

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """A pool of at most two, which makes none before it is needed."""
    made = await asyncpg.create_pool(database, min_size=0, max_size=2)
    yield made
    await asyncio.wait_for(made.close(), 30)


@pytest.fixture
def keeping(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout that keeps connections for as long as a test takes."""
    monkeypatch.setattr(checkout, "KEEP_SECONDS", 600.0)
    monkeypatch.setattr(checkout, "LONGEST_SECONDS", 600.0)
    return Checkout(pool)


async def pid(kept: Checkout, statement: str = "SELECT pg_backend_pid()") -> int:
    """Use a connection; return which one it was."""
    async with kept.use() as connection:
        return int(await connection.fetchval(statement))


def idle(pool: Pool) -> int:
    """Return how many connections lie in the pool."""
    return pool.get_idle_size()


async def test_the_next_use_has_the_same_connection(pool: Pool, keeping: Checkout) -> None:
    """The pool does not hear of it."""
    first = await pid(keeping)
    assert [await pid(keeping) for _ in range(3)] == [first] * 3 and idle(pool) == 0
    await keeping.clear()
    assert idle(pool) == 1


async def test_what_nobody_uses_goes_back(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, soon; also what was used together."""
    monkeypatch.setattr(checkout, "KEEP_SECONDS", 0.01)
    kept = Checkout(pool)
    await asyncio.gather(*(pid(kept, "SELECT pg_backend_pid() FROM pg_sleep(0.05)") for _ in range(2)))

    async def all_back() -> bool:
        return idle(pool) == 2

    await wait_until(all_back)


async def test_what_is_always_in_use_goes_back_all_the_same(
    pool: Pool, keeping: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool replaces what has served long enough, and whoever asks the pool itself is served."""
    await pid(keeping)
    assert idle(pool) == 0
    monkeypatch.setattr(checkout, "LONGEST_SECONDS", 0.0)
    await pid(keeping)
    assert idle(pool) == 1


async def test_more_users_than_connections_are_all_served(keeping: Checkout) -> None:
    """Who waits for the pool gets what the others have used."""
    found = await asyncio.wait_for(asyncio.gather(*(pid(keeping) for _ in range(50))), 30)
    assert len(set(found)) <= 2
    await keeping.clear()


async def test_after_an_error_the_pool_has_it_back(pool: Pool, keeping: Checkout) -> None:
    """It knows how to clean up; a statement that fails costs no connection."""
    first = await pid(keeping)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await pid(keeping, "SELECT 1 / 0")
    assert idle(pool) == 1
    assert await pid(keeping) == first
    await keeping.clear()


async def test_a_cancelled_use_leaves_the_pool_sound(pool: Pool, keeping: Checkout) -> None:
    """In the middle of a statement, again and again."""
    for _ in range(5):
        task = asyncio.create_task(pid(keeping, "SELECT pg_backend_pid() FROM pg_sleep(60)"))
        await asyncio.wait({task}, timeout=0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await pid(keeping) > 0
    await keeping.clear()
    assert idle(pool) >= 1


async def test_an_open_transaction_is_not_handed_on(keeping: Checkout) -> None:
    """Who forgot to end it must not have its statements rolled back, or kept, by the next."""
    async with keeping.use() as connection:
        await connection.execute("BEGIN")
    async with keeping.use() as connection:
        assert not connection.is_in_transaction()
    await keeping.clear()


async def test_a_connection_that_was_cut_is_left(pool: Pool, keeping: Checkout, database: str) -> None:
    """By the server, while it was kept."""
    first = await pid(keeping)
    admin = await asyncpg.connect(database)
    await admin.execute("SELECT pg_terminate_backend($1)", first)
    await admin.close()

    async def noticed() -> bool:
        return pool.get_size() == 0

    await wait_until(noticed)
    assert await pid(keeping) != first
    await keeping.clear()


async def test_a_pool_that_closes_serves_nobody_any_more(pool: Pool, keeping: Checkout) -> None:
    """Neither with what is kept, nor with what comes back after that: the close would wait for it."""
    both, go_on = asyncio.Barrier(2), asyncio.Event()

    async def together() -> None:
        async with keeping.use():
            await both.wait()

    async def slow() -> None:
        async with keeping.use():
            await go_on.wait()

    await asyncio.gather(together(), together())
    using = asyncio.create_task(slow())
    await asyncio.sleep(0)
    assert len(keeping._kept) == 1, "the other one"
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)
    with pytest.raises(asyncpg.InterfaceError):
        await pid(keeping)
    go_on.set()
    await using
    await keeping.clear()
    await asyncio.wait_for(closing, 30)
