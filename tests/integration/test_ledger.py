"""The ledger: guarded transitions, derived counters, one terminal state, events with every change."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from orchestrator.deliveries import Delivery, Outcome, Result, Verdict
from orchestrator.errors import ConflictError, DependencyError, NotFoundError
from orchestrator.jobs import JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import FEW, NewChunk, NewJob
from orchestrator.ledger.schema import migrate, pending
from orchestrator.ledger.statements import joined, migrations, sql
from tests.support.jobs import delivery_of, new_job

DONE = Outcome(Verdict.PROCESSED, Result(entities=3, relations=2))
RETRY = Outcome(Verdict.RETRY, reason="model said 500", delay_seconds=5)
DEAD = Outcome(Verdict.FAILED, reason="model said 400")
RELEASE = Outcome(Verdict.RELEASE, ran=False)


async def claim(ledger: Ledger, *deliveries: Delivery, consumer: str = "h-lightrag-0") -> list[Delivery]:
    """Claim and return what was taken."""
    for delivery in deliveries:
        delivery.consumer = consumer
    return (await ledger.chunks.claim(list(deliveries))).taken


async def run(ledger: Ledger, statement: str) -> None:
    """Run a statement as the ledger's own role."""
    await ledger.database.run(lambda c: c.execute(statement))


async def kinds(ledger: Ledger, job: NewJob) -> list[str]:
    """Return the types of the job's events in order."""
    rows = await ledger.database.run(
        lambda c: c.fetch("SELECT type FROM events WHERE job_id = $1 ORDER BY seq", job.job_id)
    )
    return [row["type"].removeprefix("ingestion.") for row in rows]


async def test_a_job_goes_from_queued_to_completed_with_its_events(ledger: Ledger) -> None:
    """E-32 to E-36, E-41, X-14, X-24: each event once, in order; duration and counts are real."""
    job = new_job(2)
    created, new = await ledger.jobs.create(job)
    assert new and created.status is JobStatus.QUEUED and created.queued == 2
    taken = await claim(ledger, delivery_of(job, 0), delivery_of(job, 1))
    assert [d.content for d in taken] == ["text 0", "text 1"]
    assert (await ledger.jobs.get(job.job_id)).status is JobStatus.PROCESSING
    for delivery in taken:
        assert await ledger.chunks.settle([(delivery, DONE)]) == {}
    ended = await ledger.jobs.get(job.job_id)
    assert (ended.status, ended.processed, ended.entities, ended.relations) == (JobStatus.COMPLETED, 2, 6, 4)
    assert ended.percent_complete == 100.0 and ended.duration_seconds is not None
    assert await kinds(ledger, job) == ["queued", "started", "progress", "progress", "completed"]


async def test_x16_redelivery_is_counted_once(ledger: Ledger) -> None:
    """The seed counted a chunk at every delivery; here the second settle finds no lease."""
    job = new_job(2)
    await ledger.jobs.create(job)
    (first,) = await claim(ledger, delivery_of(job, 0, "same"))
    (second,) = await claim(ledger, delivery_of(job, 0, "same"), consumer="h-lightrag-1")
    assert await ledger.chunks.settle([(second, DONE)]) == {}
    assert await ledger.chunks.settle([(first, DONE)]) == {first.key: "processed"}
    assert (await ledger.jobs.get(job.job_id)).processed == 1


async def test_a_zombie_cannot_settle_what_another_holds(ledger: Ledger) -> None:
    """Fencing: the new claim's token is the only one that settles."""
    job = new_job(1)
    await ledger.jobs.create(job)
    (zombie,) = await claim(ledger, delivery_of(job, 0, "same"))
    (owner,) = await claim(ledger, delivery_of(job, 0, "same"), consumer="other")
    assert await ledger.chunks.settle([(zombie, DEAD)]) == {zombie.key: "running"}
    assert await ledger.chunks.leases_lost([zombie]) == [zombie]
    assert await ledger.chunks.leases_lost([owner]) == []
    assert await ledger.chunks.settle([(owner, DONE)]) == {}


async def test_a_second_entry_of_a_running_chunk_is_a_duplicate(ledger: Ledger) -> None:
    """The reconciler may publish twice; the second entry must not steal the work of the first."""
    job = new_job(1)
    await ledger.jobs.create(job)
    (held,) = await claim(ledger, delivery_of(job, 0, "first"))
    again = await ledger.chunks.claim([delivery_of(job, 0, "second")])
    assert not again.taken and len(again.at_work) == 1
    assert await ledger.chunks.settle([(held, DONE)]) == {}


async def test_x17_concurrent_settles_lose_no_count(ledger: Ledger) -> None:
    """The seed's counter was read, modified and written without a lock."""
    job = new_job(60)
    await ledger.jobs.create(job)
    taken = await claim(ledger, *(delivery_of(job, i) for i in range(60)))
    await asyncio.gather(*(ledger.chunks.settle([(d, DONE)]) for d in taken))
    ended = await ledger.jobs.get(job.job_id)
    assert (ended.processed, ended.status) == (60, JobStatus.COMPLETED)
    assert (await kinds(ledger, job)).count("completed") == 1


async def test_x15_a_job_fails_only_after_all_its_chunks_have_ended(ledger: Ledger) -> None:
    """The seed marked the job failed while siblings ran on, and then flipped it back (X-13)."""
    job = new_job(2)
    await ledger.jobs.create(job)
    dead, alive = await claim(ledger, delivery_of(job, 0), delivery_of(job, 1))
    await ledger.chunks.settle([(dead, DEAD)])
    assert (await ledger.jobs.get(job.job_id)).status is JobStatus.PROCESSING
    await ledger.chunks.settle([(alive, DONE)])
    ended = await ledger.jobs.get(job.job_id)
    assert (ended.status, ended.failed, ended.processed) == (JobStatus.FAILED, 1, 1)
    assert (ended.error_message, ended.error_chunk_id) == ("model said 400", "c0")
    assert (await kinds(ledger, job))[-1] == "failed"


async def test_retry_and_release_put_the_chunk_back(ledger: Ledger) -> None:
    """A failed run burns an attempt; a release burns neither an attempt nor a delivery."""
    job = new_job(1)
    await ledger.jobs.create(job)
    for outcome, attempt, deliveries in ((RETRY, 1, 1), (RELEASE, 2, 2), (RELEASE, 2, 2), (DONE, 2, 2)):
        (held,) = await claim(ledger, delivery_of(job, 0))
        assert (held.attempt, held.deliveries) == (attempt, deliveries)
        await ledger.chunks.settle([(held, outcome)])
    assert (await ledger.jobs.get(job.job_id)).status is JobStatus.COMPLETED
    assert (await kinds(ledger, job)).count("started") == 1


async def test_cancel_ends_queued_and_running_chunks_at_once(ledger: Ledger) -> None:
    """The running handler's settle is refused; the job has one terminal state."""
    job = new_job(3)
    await ledger.jobs.create(job)
    done, running = await claim(ledger, delivery_of(job, 0), delivery_of(job, 1))
    await ledger.chunks.settle([(done, DONE)])
    cancelled = await ledger.jobs.cancel(job.job_id)
    assert (cancelled.status, cancelled.processed, cancelled.cancelled) == (JobStatus.CANCELLED, 1, 2)
    assert await ledger.chunks.settle([(running, DONE)]) == {running.key: "cancelled"}
    assert await ledger.jobs.cancel(job.job_id) == cancelled
    assert (await kinds(ledger, job))[-1] == "cancelled"


async def test_an_idempotency_key_gives_one_job(ledger: Ledger) -> None:
    """The same request returns the first job; another request under the key is a conflict."""
    first, new = await ledger.jobs.create(new_job(1, idempotency_key="k", request_hash="a"))
    again, second_is_new = await ledger.jobs.create(new_job(1, idempotency_key="k", request_hash="a"))
    assert new and not second_is_new and again.job_id == first.job_id
    with pytest.raises(ConflictError, match="another request"):
        await ledger.jobs.create(new_job(1, idempotency_key="k", request_hash="b"))


async def test_a_repeated_request_needs_one_connection(database: str, ledger: Ledger) -> None:
    """One was held while another was asked for: as many repeats at once as there were connections waited for ever."""
    repeated = new_job(1, idempotency_key="k", request_hash="a")
    await ledger.jobs.create(repeated)
    narrow = await Ledger.open(database, connections=1)
    try:
        many = new_job(FEW + 1, idempotency_key="k", request_hash="a")
        for again in (repeated, many):
            found, new = await asyncio.wait_for(narrow.jobs.create(again), 20)
            assert (found.job_id, new) == (repeated.job_id, False)
    finally:
        await narrow.close()


@pytest.mark.parametrize("size", [1, FEW, FEW + 1])
async def test_a_job_is_written_the_same_whatever_its_size(ledger: Ledger, size: int) -> None:
    """Few chunks go with the job in one statement, many in a stream of their own."""
    chunks = [
        NewChunk(chunk_id=f"c{n}", content=f"text {n}", source_uri=f"u:{n}", metadata={"n": n} if n % 2 else None)
        for n in range(size)
    ]
    job = new_job(chunks=chunks)
    await ledger.jobs.create(job)
    rows = await ledger.database.run(
        lambda c: c.fetch(
            "SELECT chunk_id, content, source_uri, metadata, status FROM chunks WHERE job_id = $1 ORDER BY seq",
            job.job_id,
        )
    )
    assert [tuple(row) for row in rows] == [(c.chunk_id, c.content, c.source_uri, c.metadata, "queued") for c in chunks]
    found = await ledger.jobs.get(job.job_id)
    assert (found.chunks_total, found.queued, found.status) == (size, size, JobStatus.QUEUED)
    assert await kinds(ledger, job) == ["queued"] and await ledger.outbox.queues() == [job.queue]


async def test_x23_a_job_is_read_from_the_ledger_or_is_unknown(ledger: Ledger) -> None:
    """Another tenant's job is as unknown as none at all (X-28)."""
    job = new_job(1)
    await ledger.jobs.create(job)
    assert (await ledger.jobs.get(job.job_id, "lab")).tenant == "lab"
    for tenant, job_id in (("other", job.job_id), (None, "nothing")):
        with pytest.raises(NotFoundError):
            await ledger.jobs.get(job_id, tenant)


def external(job_id: str, chunk_id: str, total: int | None = None) -> Delivery:
    """Return an entry that a foreign producer put straight on the stream."""
    return Delivery(f"x-{chunk_id}", "h", job_id, chunk_id, "w", content="hello", chunks_total=total)


async def test_an_external_producers_chunks_are_registered_once(ledger: Ledger) -> None:
    """A declared total keeps the job open until all have been seen."""
    for chunk_id in ("a", "a", "b"):
        await ledger.chunks.register("lightrag", "q", "ingestion", [external("ext", chunk_id, 3)])
    job = await ledger.jobs.get("ext")
    assert (job.chunks_total, job.queued) == (3, 3)
    taken = await claim(ledger, external("ext", "a", 3), external("ext", "b", 3))
    await ledger.chunks.settle([(d, DONE) for d in taken])
    assert (await ledger.jobs.get("ext")).status is JobStatus.PROCESSING
    await ledger.chunks.register("lightrag", "q", "ingestion", [external("ext", "c", 3)])
    await ledger.chunks.settle([(d, DONE) for d in await claim(ledger, external("ext", "c", 3))])
    assert (await ledger.jobs.get("ext")).status is JobStatus.COMPLETED


async def test_an_undeclared_job_ends_when_it_is_quiet_and_later_chunks_are_unknown(ledger: Ledger) -> None:
    """One terminal state: a chunk that comes after the end is for the dead letters, not a second life."""
    await ledger.chunks.register("lightrag", "q", "ingestion", [external("ext", "a")])
    await ledger.chunks.settle([(d, DONE) for d in await claim(ledger, external("ext", "a"))])
    assert await ledger.jobs.close_quiet(3600) == 0
    assert (await ledger.jobs.get("ext")).percent_complete == 99.99, "nobody knows whether it was the last"
    assert await progress(ledger, "ext") == [99.99]
    assert await ledger.jobs.close_quiet(0) == 1
    ended = await ledger.jobs.get("ext")
    assert (ended.status, ended.percent_complete) == (JobStatus.COMPLETED, 100.0)
    await ledger.chunks.register("lightrag", "q", "ingestion", [external("ext", "late")])
    late = await ledger.chunks.claim([external("ext", "late")])
    assert [d.chunk_id for d in late.unknown] == ["late"]


async def progress(ledger: Ledger, job_id: str) -> list[float]:
    """Return what the progress events of a job said."""
    statement = "SELECT data FROM events WHERE job_id = $1 AND type = 'ingestion.progress' ORDER BY seq"
    rows = await ledger.database.run(lambda c: c.fetch(statement, job_id))
    return [row["data"]["percent_complete"] for row in rows]


@pytest.mark.parametrize("others", [0, FEW])
async def test_two_chunks_of_one_id_are_a_conflict(ledger: Ledger, others: int) -> None:
    """Unique (job_id, chunk_id): nothing of the job stays behind."""
    same = [NewChunk(chunk_id="c", content="a"), NewChunk(chunk_id="c", content="b")]
    twice = new_job(chunks=[*new_job(others).chunks, *same])
    with pytest.raises(ConflictError):
        await ledger.jobs.create(twice)
    with pytest.raises(NotFoundError):
        await ledger.jobs.get(twice.job_id)


async def test_a_runtime_role_reads_and_writes_rows_and_no_more(database: str) -> None:
    """Least privilege: no DDL, and the versions of the schema are not its to write."""
    owner = await asyncpg.connect(database)
    await owner.execute("DROP ROLE IF EXISTS runtime_test")
    await owner.execute("CREATE ROLE runtime_test LOGIN")
    assert await migrate(database, grant_to=("runtime_test",)) == [name for _, name, _ in migrations()]
    assert await migrate(database, grant_to=("runtime_test",)) == [] and await pending(database) == []
    ledger = await Ledger.open(database.replace("postgres@", "runtime_test@"))
    job = new_job(1)
    await ledger.jobs.create(job)
    taken = await claim(ledger, delivery_of(job, 0))
    await ledger.chunks.settle([(d, DONE) for d in taken])
    await ledger.jobs.delete(job.job_id)
    for statement in ("CREATE TABLE x ()", "DROP TABLE jobs", "DELETE FROM schema_version"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await run(ledger, statement)
    await ledger.close()
    await owner.execute("DROP OWNED BY runtime_test")
    await owner.execute("DROP ROLE runtime_test")
    await owner.close()


async def test_a_server_without_room_is_an_outage(database: str) -> None:
    """No connection left, or a full disk: callers wait and try again, and lose nothing."""
    await migrate(database)
    owner = await asyncpg.connect(database)
    await owner.execute("DROP ROLE IF EXISTS crowded_test")
    await owner.execute("CREATE ROLE crowded_test LOGIN CONNECTION LIMIT 0")
    with pytest.raises(DependencyError, match="TooManyConnectionsError"):
        await Ledger.open(database.replace("postgres@", "crowded_test@"))
    await owner.close()


async def test_many_chunks_are_found_by_the_index(ledger: Ledger) -> None:
    """The planner saw how many ids there were, and read the whole table for them, as long as that was not large."""
    job = new_job(20_000)
    await ledger.jobs.create(job)
    await run(ledger, "ANALYZE chunks")
    jobs, ids = [job.job_id] * 400, [f"c{n}" for n in range(400)]
    whose = joined(jobs), joined(ids)
    asked = {
        "claim_chunks": (*whose, joined(ids), joined(ids), 1),
        "settle_processed": (*whose, joined(["1"] * 400)),
        "known_chunks": (jobs, ids),
        "leases_lost": (jobs, ids, [1] * 400),
    }
    async with ledger.database.transaction() as connection:
        for name, values in asked.items():
            rows = await connection.fetch(f"EXPLAIN {sql(name)}", *values)
            assert "Seq Scan on chunks" not in "\n".join(row[0] for row in rows), name
