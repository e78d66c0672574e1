"""One writer a workspace: the lock, its loss, shutdown and takeover; tenants apart; ephemeral workspaces gone."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.deliveries import Result
from orchestrator.errors import CredentialError, RetryError
from orchestrator.handlers.lightrag import workspaces
from orchestrator.handlers.lightrag.handler import LightRAGHandler
from orchestrator.handlers.lightrag.identity import document_id
from tests.integration.lightrag.bench import Bench
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")

TEXT = "Helios Labs acquired Titan Corp. Titan Corp employs Anna Keller."


async def test_a_second_handler_is_refused_the_workspace(bench: Bench) -> None:
    """Two processes on one workspace corrupt each other; the second burns no attempt and comes again later."""
    first, second = await bench.handler(), await bench.handler()
    await bench.run(first, "c1", TEXT)
    for _ in range(2):
        with pytest.raises(RetryError, match="another host") as raised:
            await bench.run(second, "c2", "Other Text is here.")
        assert not raised.value.counts and raised.value.delay_seconds
    assert (await bench.run(second, "c2", TEXT, workspace=f"{bench.workspace}-b")).duplicate_of is None
    await first.close()

    async def taken_over() -> Result | None:
        try:
            return await bench.run(second, "c2", "Other Text is here.")
        except RetryError:
            return None

    assert await wait_until(taken_over) == Result(entities=1)


async def test_two_workspaces_opened_at_once_on_a_new_database(bench: Bench) -> None:
    """The second waited for the first's turn at the schema inside a statement, and the first's CREATE INDEX
    CONCURRENTLY waited for that statement: both hung for a minute. PostgreSQL cannot see such a circle.
    """
    await bench.sql("DROP INDEX IF EXISTS idx_lightrag_doc_status_workspace_status_updated_at")
    handler = await bench.handler()
    async with asyncio.timeout(20):
        await asyncio.gather(*(bench.run(handler, i, TEXT, workspace=bench.workspace + i) for i in ("-a", "-b")))


async def test_a_lost_lock_stops_the_pump(bench: Bench) -> None:
    """Another may have it by now. Those who wait burn no attempt; the work is found again when the lock is."""
    handler = await bench.handler()
    bench.model.delay = 5
    waiting = asyncio.create_task(bench.run(handler, "c1", TEXT))
    await wait_until(bench.extracted)
    killed = await bench.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
        f"orchestrator lightrag lock {bench.workspace}",
    )
    assert len(killed) == 1
    with pytest.raises(RetryError, match="lock was lost") as raised:
        await waiting
    assert not raised.value.counts and await bench.state("c1") == "processing"
    bench.model.delay = 0
    assert await bench.run(handler, "c1", TEXT) == Result(entities=3, relations=2)


async def test_what_a_closed_handler_left_is_finished_by_the_next(bench: Bench) -> None:
    """Closing cancels the pump, and no document ends FAILED for it: 'cancellation_requested' would fail them all.

    Three are held up at the model, and four at work at a time: some end, and not all before it is closed.
    """
    first = await bench.handler(max_parallel_insert=4)
    bench.model.holding |= {"Unit13 ", "Unit14 ", "Unit15 "}
    texts = {f"c{i}": f"Shared Hub supplies Unit{i} Works." for i in range(16)}
    running = asyncio.create_task(bench.run_all(first, texts))

    async def some_are_done() -> bool:
        return "processed" in (await bench.states()).values()

    await wait_until(some_are_done)
    await first.close()
    bench.model.holding.clear()
    ends = await running
    left = {i: e for i, e in ends.items() if isinstance(e, RetryError)}
    assert left and all(not e.counts for e in left.values())
    states = (await bench.states()).values()
    assert "failed" not in states and set(states) > {"processed"}
    second = await bench.handler(max_parallel_insert=4)
    assert all(isinstance(e, Result) and e.entities == 2 for e in (await bench.run_all(second, texts)).values())
    assert list((await bench.states()).values()) == ["processed"] * 16
    nodes = await bench.sql("SELECT count(*) AS n FROM lightrag_graph_nodes WHERE workspace = $1", bench.workspace)
    assert nodes[0]["n"] == 17


async def test_a_cancelled_delivery_leaves_its_document_to_the_pipeline(bench: Bench) -> None:
    """As after a timeout: the next delivery finds it."""
    handler = await bench.handler()
    bench.model.delay = 0.3
    waiting = asyncio.create_task(bench.run(handler, "c1", TEXT))
    await wait_until(bench.extracted)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await bench.run(handler, "c1", TEXT) == Result(entities=3, relations=2)
    assert len(bench.model.texts) == 1


async def test_a_delivery_cancelled_while_its_workspace_opens_leaves_nothing_open(bench: Bench) -> None:
    """Whenever that is; a half-open engine must neither raise nor keep connections."""
    handler = await bench.handler()
    cut = 0
    for n in range(20):
        try:
            async with asyncio.timeout(0.01 * n):
                await bench.run(handler, "c1", TEXT, workspace=f"{bench.workspace}-{n}")
        except TimeoutError:
            cut += 1
    assert cut > 5 and await bench.run(handler, "c1", TEXT) == Result(entities=3, relations=2)
    await handler.close()

    async def alone() -> bool:
        left = await bench.sql(
            "SELECT application_name, state, wait_event, backend_start, query FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        print(left)  # for whoever has to find out
        return not left

    await wait_until(alone)


async def test_what_a_dead_predecessor_left_needs_no_delivery(bench: Bench) -> None:
    """The pump begins with it."""
    first = await bench.handler()
    bench.model.delay = 5
    waiting = asyncio.create_task(bench.run(first, "c1", TEXT))
    await wait_until(bench.extracted)
    await first.close()
    with pytest.raises(RetryError):
        await waiting
    bench.model.delay = 0
    await bench.run(await bench.handler(), "c2", "Other Text is here.")

    async def both() -> bool:
        return list((await bench.states()).values()) == ["processed"] * 2

    await wait_until(both)


async def test_tenants_stay_apart_whatever_the_environment_says(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With POSTGRES_WORKSPACE set LightRAG ignored every instance's workspace: tenant B saw A's documents."""
    monkeypatch.setenv("POSTGRES_WORKSPACE", "leak")
    monkeypatch.setenv("WORKSPACE", "leak")
    handler = await bench.handler()
    for tenant in ("a", "b"):
        result = await bench.run(handler, "c1", TEXT, workspace=f"{bench.workspace}-{tenant}")
        assert result == Result(entities=3, relations=2)
    rows = await bench.sql(
        "SELECT workspace FROM lightrag_doc_status WHERE workspace LIKE $1 OR workspace = 'leak'", f"{bench.workspace}%"
    )
    assert sorted(row["workspace"] for row in rows) == [f"{bench.workspace}-a", f"{bench.workspace}-b"]


async def test_an_ephemeral_workspace_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dropped when nobody waits in it, and empty again for the next: a canary is new each time."""
    monkeypatch.setattr(workspaces, "EPHEMERAL_SECONDS", 0.1)
    handler = await bench.handler(ephemeral_workspaces=(bench.workspace,))
    for _ in range(2):
        ends = await bench.run_all(handler, {"c1": TEXT, "c2": "Helios Labs monitors Unit2 Works."})
        assert all(isinstance(e, Result) and not e.duplicate_of for e in ends.values()), ends

        async def nothing() -> bool:
            return not await bench.rows()

        await wait_until(nothing)


async def test_an_ephemeral_workspace_lives_from_chunk_to_chunk(bench: Bench) -> None:
    """Of one job, say; the end of the worker drops it, too."""
    handler = await bench.handler(ephemeral_workspaces=(bench.workspace,))
    await bench.run(handler, "c1", TEXT)
    assert (await bench.run(handler, "c2", TEXT)).duplicate_of == document_id("job-1", "c1")
    await handler.close()
    assert await bench.rows() == {}


async def test_what_an_ephemeral_workspace_was_left_with_is_dropped_first(bench: Bench) -> None:
    """By a worker that was killed, say."""
    await bench.run(await bench.handler(), "c1", TEXT)
    await bench.close()
    handler = await bench.handler(ephemeral_workspaces=(bench.workspace,))
    assert await bench.run(handler, "c2", TEXT) == Result(entities=3, relations=2)


async def test_few_idle_workspaces_are_kept_open(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds a connection: the longest idle goes when there are too many."""
    monkeypatch.setattr(workspaces, "IDLE_WORKSPACES", 2)
    handler = await bench.handler()
    for n in range(4):
        await bench.run(handler, "c1", TEXT, workspace=f"{bench.workspace}-{n}")

    async def locked() -> list[str]:
        rows = await bench.sql(
            "SELECT application_name AS name FROM pg_stat_activity WHERE application_name LIKE $1",
            f"%lock {bench.workspace}%",
        )
        return sorted(row["name"][-1] for row in rows)

    async def two() -> bool:
        return len(await locked()) <= 2

    await wait_until(two)
    assert await locked() == ["2", "3"]


async def test_a_handler_that_closes_opens_nothing(bench: Bench) -> None:
    """A chunk that arrives meanwhile would leave a lock and a pump behind."""
    handler = await bench.handler()
    await bench.run(handler, "c1", TEXT)
    closing = asyncio.create_task(handler.close())
    ends = []
    while not closing.done():
        ends.append((await bench.run_all(handler, {"c2": "Other Text is here."}))["c2"])
        await asyncio.sleep(0)
    await closing
    assert ends and all(isinstance(e, RetryError) and not e.counts for e in ends)
    assert not await bench.sql(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = $1", f"orchestrator lightrag lock {bench.workspace}"
    )


async def test_an_idle_workspace_gives_its_lock_back(bench: Bench) -> None:
    """Another host may serve it then."""
    first, second = await bench.handler(idle_engine_seconds=0.1), await bench.handler()
    await bench.run(first, "c1", TEXT)

    async def free() -> bool:
        try:
            return bool((await bench.run(second, "c1", TEXT)).entities)
        except RetryError:
            return False

    assert await wait_until(free)


async def test_a_handler_that_is_not_open_burns_no_attempt(bench: Bench) -> None:
    """Nor one that was closed; a DSN of no use is said at once."""
    handler = LightRAGHandler(bench.settings, bench.dsn)
    with pytest.raises(RetryError, match="not open"):
        await bench.run(handler, "c1", TEXT)
    with pytest.raises(CredentialError, match="several hosts"):
        LightRAGHandler(bench.settings, "postgresql://u:p@a,b/lightrag")
