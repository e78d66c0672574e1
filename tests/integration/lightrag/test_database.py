"""The pool of connections to LightRAG's database: ours, never reset, and nothing left in a session all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import asyncpg
import pytest

from orchestrator.errors import DependencyError
from tests.integration.lightrag.bench import Bench
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")

TEXT = "Helios Labs acquired Titan Corp. Titan Corp employs Anna Keller."
RESET = "pg_advisory_unlock_all"
LEFT = {
    "parameters": "SELECT name FROM pg_settings WHERE source = 'session' AND setting IS DISTINCT FROM reset_val",
    "advisory locks": "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "channels": "SELECT pg_listening_channels()",
    "cursors": "SELECT name FROM pg_cursors WHERE name <> ''",
    "temporary tables": "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
}
"""What asyncpg's reset query would have undone in a session, and how to find it there."""


def client() -> Any:
    """Return LightRAG's only database of this process."""
    return import_module("lightrag.kg.postgres_impl").ClientManager._instances["db"]


@asynccontextmanager
async def all_connections(pool: Any) -> AsyncIterator[list[Any]]:
    """Take every connection the pool can have."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(pool.acquire()) for _ in range(pool.get_max_size())]


async def closing_of(pool: Any) -> bool:
    """Return whether the pool takes nobody in any more."""
    return bool(pool.is_closing())


async def ended(connection: Any) -> bool:
    """Return whether the client knows that the connection is no more."""
    return bool(connection.is_closed())


async def sleeping(bench: Bench) -> bool:
    """Return whether a query of LightRAG's is under way that takes its time."""
    return any("pg_sleep" in statement for statement in await last_statements(bench))


async def nothing_of_it(bench: Bench) -> bool:
    """Return whether the server has no connection of LightRAG's."""
    return not await last_statements(bench)


async def last_statements(bench: Bench) -> list[str]:
    """Return what each connection of the pool was given last, as the server knows it."""
    rows = await bench.sql("SELECT query FROM pg_stat_activity WHERE application_name = 'orchestrator lightrag'")
    return [row["query"] for row in rows]


async def test_the_pool_is_ours_and_no_connection_is_reset(bench: Bench) -> None:
    """The reset was 69 of 164 statements of a chunk; whoever takes over LightRAG's pool must notice an upgrade."""
    handler = await bench.handler()
    await bench.run_all(handler, {f"c{i}": f"Unit{i} Works supplies Helios Labs." for i in range(10)})
    pool = client().pool
    assert pool.get_max_size() == bench.settings.postgres_connections
    async with all_connections(pool) as connections:
        assert {c.get_reset_query() for c in connections} == {""}
    found = await last_statements(bench)
    assert found and not [q for q in found if RESET in q], found


async def test_no_session_is_left_changed(bench: Bench) -> None:
    """After chunks that were processed, that failed, and that were cancelled in the middle of a statement."""
    handler = await bench.handler()
    bench.model.failing.add("Broken")
    texts = {f"c{i}": f"Unit{i} Works supplies Helios Labs." for i in range(10)} | {"bad": "Broken Corp is here."}
    await bench.run_all(handler, texts)
    pool = client().pool
    for _ in range(5):
        reading = asyncio.create_task(client().query("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.wait({reading})
    async with all_connections(pool) as connections:
        left = {what: [await c.fetch(sql) for c in connections] for what, sql in LEFT.items()}
    assert {what: [rows for rows in found if rows] for what, found in left.items()} == {what: [] for what in LEFT}


async def test_a_straggler_of_a_closed_engine_does_not_connect_anew(bench: Bench) -> None:
    """To a query that comes after the end the closed pool looked like an outage: the pool it made was never closed."""
    handler = await bench.handler()
    await bench.run(handler, "c1", TEXT)
    database = client()
    under_way = asyncio.create_task(database.query("SELECT pg_sleep(0.5)"))
    await wait_until(lambda: sleeping(bench), what="a query under way")
    closing = asyncio.create_task(handler.close())  # waits for what is under way
    await wait_until(lambda: closing_of(database.pool), what="the pool's closing")
    straggler = asyncio.create_task(database.query("SELECT 1"))
    await asyncio.wait({under_way, closing, straggler})
    assert isinstance(straggler.exception(), DependencyError)
    with pytest.raises(DependencyError, match="was closed"):
        await database.query("SELECT 1")
    await wait_until(lambda: nothing_of_it(bench), what="no connection")


async def test_a_connection_that_was_cut_is_tried_again(bench: Bench) -> None:
    """The first try is ours, without LightRAG's machinery; what fails in passing must come back to that."""
    await bench.run(await bench.handler(), "c1", TEXT)
    database, tries = client(), []

    async def cut_once(connection: Any) -> int:
        tries.append(connection.get_server_pid())
        if len(tries) == 1:
            await bench.sql("SELECT pg_terminate_backend($1)", tries[0])
            await wait_until(lambda: ended(connection), what="the end of the connection")
        return int(await connection.fetchval("SELECT 7"))

    assert await database._run_with_retry(cut_once) == 7
    assert len(tries) == 2 and len(set(tries)) == 2


async def test_what_the_database_refuses_is_not_tried_again(bench: Bench) -> None:
    """Nor does an operation of a statement that is wrong run twice."""
    await bench.run(await bench.handler(), "c1", TEXT)
    tries = []

    async def wrong(connection: Any) -> None:
        tries.append(connection)
        await connection.execute("SELECT * FROM nowhere")

    with pytest.raises(asyncpg.UndefinedTableError):
        await client()._run_with_retry(wrong)
    assert len(tries) == 1


async def test_an_open_transaction_is_rolled_back(bench: Bench) -> None:
    """Without the reset query, too: that is another part of asyncpg's."""
    await bench.run(await bench.handler(), "c1", TEXT)
    pool = client().pool
    async with pool.acquire() as connection:
        process = connection.get_server_pid()
        await connection.execute("BEGIN")
        await connection.execute("CREATE TABLE left_behind (id int)")
    rows = await bench.sql("SELECT state FROM pg_stat_activity WHERE pid = $1", process)
    assert [row["state"] for row in rows] == ["idle"]
    with pytest.raises(asyncpg.UndefinedTableError):
        await bench.sql("SELECT * FROM left_behind")


@pytest.mark.parametrize(
    "options",
    [
        {"POSTGRES_SERVER_SETTINGS": "statement_timeout=60000"},
        {"POSTGRES_STATEMENT_CACHE_SIZE": "0"},
        {"POSTGRES_VECTOR_INDEX_TYPE": "VCHORDRQ"},
    ],
)
async def test_where_sessions_are_changed_they_are_reset(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    """By LightRAG's own pool, as its authors mean it."""
    database = import_module("orchestrator.handlers.lightrag.database")
    known = import_module("lightrag.kg.postgres_impl").ClientManager
    await bench.handler()  # the environment names the database now
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    made = database.Database(known.get_config())
    assert made.changes_sessions
    if "VCHORDRQ" in options.values():  # cannot be had here
        return
    await made.initdb()
    try:
        async with made.pool.acquire() as connection:
            assert RESET in connection.get_reset_query()
    finally:
        await made.pool.close()


async def test_age_changes_sessions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sets search_path for each use; nobody but the settings says that it is there."""
    engine = import_module("orchestrator.handlers.lightrag.engine")
    database = import_module("orchestrator.handlers.lightrag.database")
    known = import_module("lightrag.kg.postgres_impl").ClientManager
    handler = await bench.handler()
    made = database.Database(known.get_config())
    assert not made.changes_sessions
    monkeypatch.setattr(database.Database, "uses_age", False)  # put back afterwards
    engine.Engines(replace(bench.settings, graph_storage="PGGraphStorage"), bench.dsn, llm_key=None, embedding_key=None)
    assert made.changes_sessions
    await handler.close()
