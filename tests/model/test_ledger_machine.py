"""The ledger against a model: claimed, settled, cancelled, redelivered in whatever order, its books balance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import hypothesis.strategies as st
import orjson
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from orchestrator.deliveries import DONE, Delivery, Outcome, Result, Verdict
from orchestrator.jobs import CHUNK_TRANSITIONS, JOB_TRANSITIONS, ChunkStatus, FailurePolicy, JobStatus
from orchestrator.ledger.jobs import NewJob
from tests.model.loop import World
from tests.support.jobs import delivery_of, new_job

OUTCOMES = st.sampled_from(
    [
        DONE,
        Outcome(Verdict.PROCESSED, Result(entities=2, relations=1)),
        Outcome(Verdict.RETRY, reason="again", delay_seconds=1),
        Outcome(Verdict.FAILED, reason="dead"),
        Outcome(Verdict.RELEASE, ran=False),
    ]
)
POLICIES = st.sampled_from(list(FailurePolicy))
GIVES_UP = {FailurePolicy.FAIL_FAST, FailurePolicy.THRESHOLD}


@dataclass
class Seen:
    """What the last look at a job showed; the next one may only follow from it."""

    status: str = "queued"
    processed: int = 0
    chunks: dict[str, str] = field(default_factory=dict)


@dataclass
class Tries:
    """How often a chunk was handed out, and how many of its runs came to an end."""

    attempts: int = 0
    deliveries: int = 0

    def settled(self, outcome: Outcome) -> None:
        """A run has ended; one that was given back counts as neither."""
        self.attempts += outcome.ran
        self.deliveries -= outcome.verdict is Verdict.RELEASE


class LedgerMachine(RuleBasedStateMachine):
    """Deliveries may be stale: of an earlier claim, of an ended chunk, of a cancelled job."""

    world: World
    jobs = Bundle("jobs")
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.world.empty()
        self.seen: dict[str, Seen] = {}
        self.tries: dict[tuple[str, str], Tries] = {}
        self.receipts = 0

    @rule(target=jobs, size=st.integers(1, 4), policy=POLICIES, most=st.integers(0, 2))
    def submit(self, size: int, policy: FailurePolicy, most: int) -> NewJob:
        """A job is written down."""
        job = new_job(size, failure_policy=policy, max_failed=most if policy is FailurePolicy.THRESHOLD else 0)
        self.world.run(self.world.ledger.jobs.create(job))
        self.seen[job.job_id] = Seen()
        self.tries.update({(job.job_id, chunk.chunk_id): Tries() for chunk in job.chunks})
        return job

    @rule(target=held, job=jobs, index=st.integers(0, 3), again=st.booleans())
    def claim(self, job: NewJob, index: int, again: bool) -> Delivery:
        """An entry is delivered: a new one, or the same again because its worker died."""
        self.receipts += 0 if again else 1
        delivery = delivery_of(job, index % len(job.chunks), f"r{job.job_id}{index}-{self.receipts}")
        self._claim(delivery)
        return delivery

    @rule(target=held, delivery=held)
    def redeliver(self, delivery: Delivery) -> Delivery:
        """The same entry comes to another worker."""
        copy = replace(delivery, lease_token=0, consumer="h-lightrag-1")
        self._claim(copy)
        return copy

    def _claim(self, delivery: Delivery) -> None:
        status, _, receipt = self._chunk(delivery)
        free = status == "queued" or (status == "running" and receipt == delivery.receipt)
        claimed = self.world.run(self.world.ledger.chunks.claim([delivery]))
        assert claimed.taken == [delivery] * free and len(claimed.ended) + len(claimed.at_work) == (not free)
        if free:
            tries = self.tries[delivery.key]
            tries.deliveries += 1
            assert (delivery.attempt, delivery.deliveries) == (tries.attempts + 1, tries.deliveries)

    @rule(delivery=held, outcome=OUTCOMES)
    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """A handler has ended, perhaps one that nobody waits for any more."""
        self._settle([(delivery, outcome)])

    @rule(
        deliveries=st.lists(held, min_size=1, max_size=4, unique_by=lambda d: d.key),
        outcomes=st.lists(OUTCOMES, min_size=4, max_size=4),
    )
    def settle_many(self, deliveries: list[Delivery], outcomes: list[Outcome]) -> None:
        """A batch, of several jobs; what is refused of it is no matter to the rest."""
        self._settle(list(zip(deliveries, outcomes, strict=False)))

    def _settle(self, batch: list[tuple[Delivery, Outcome]]) -> None:
        ours = [(d, o) for d, o in batch if self._chunk(d)[:2] == ("running", d.lease_token)]
        refused = self.world.run(self.world.ledger.chunks.settle(batch))
        assert set(refused) == {d.key for d, _ in batch} - {d.key for d, _ in ours}
        for delivery, outcome in ours:
            self.tries[delivery.key].settled(outcome)

    @rule(job=jobs)
    def cancel(self, job: NewJob) -> None:
        """Somebody changes his mind."""
        self.world.run(self.world.ledger.jobs.cancel(job.job_id))

    @rule()
    def requeue(self) -> None:
        """The reconciler finds that no worker is alive."""
        self.world.run(self.world.ledger.chunks.requeue_stranded("lightrag", 0.0))
        self.world.run(self.world.ledger.jobs.close_quiet(0.0))

    def _chunk(self, delivery: Delivery) -> tuple[str, int | None, str | None]:
        statement = "SELECT status, lease_token, receipt FROM chunks WHERE job_id = $1 AND chunk_id = $2"
        [row] = self.world.rows(statement, *delivery.key)
        return row["status"], row["lease_token"], row["receipt"]

    @invariant()
    def all_is_well(self) -> None:
        """In this order: later checks use what earlier ones saw."""
        self.the_books_balance()
        self.tries_are_counted()
        self.states_follow_from_states()
        self.events_tell_it_once()

    def the_books_balance(self) -> None:
        """Counters are what the rows say, and add up; a job ends with its last chunk, as its policy says."""
        statement = """
            SELECT j.*, c.status AS chunk_status, c.n FROM jobs j
            JOIN (SELECT job_id, status, count(*) AS n FROM chunks GROUP BY job_id, status) c USING (job_id)
        """
        counts: dict[str, dict[str, int]] = {}
        jobs = {}
        for row in self.world.rows(statement):
            jobs[row["job_id"]] = row
            counts.setdefault(row["job_id"], {})[row["chunk_status"]] = row["n"]
        for job_id, row in jobs.items():
            assert {s.value: row[s.value] for s in ChunkStatus if row[s.value]} == counts[job_id]
            assert sum(counts[job_id].values()) == row["chunks_total"]
            if row["queued"] + row["running"] == 0:
                assert row["status"] == end_of(FailurePolicy(row["failure_policy"]), row["max_failed"], counts[job_id])
            else:
                assert row["status"] in {"queued", "processing"}
                assert row["failure_policy"] not in GIVES_UP or row["failed"] <= row["max_failed"]

    def tries_are_counted(self) -> None:
        """Of every chunk; what a cancel, a policy or a dead worker does to it counts nothing."""
        rows = self.world.rows("SELECT job_id, chunk_id, attempts, deliveries FROM chunks")
        found = {(r["job_id"], r["chunk_id"]): Tries(r["attempts"], r["deliveries"]) for r in rows}
        assert found == self.tries

    def states_follow_from_states(self) -> None:
        """No job and no chunk leaves an end, and progress never goes back."""
        chunks = self.world.rows("SELECT job_id, chunk_id, status FROM chunks")
        for row in self.world.rows("SELECT job_id, status, processed FROM jobs"):
            seen = self.seen[row["job_id"]]
            assert reachable(seen.status, row["status"]), f"{seen.status} -> {row['status']}"
            assert row["processed"] >= seen.processed
            seen.status, seen.processed = row["status"], row["processed"]
        for row in chunks:
            was = self.seen[row["job_id"]].chunks
            before = ChunkStatus(was.get(row["chunk_id"], "queued"))
            now = ChunkStatus(row["status"])
            assert now == before or now in CHUNK_TRANSITIONS[before], f"{before} -> {now}"
            was[row["chunk_id"]] = now.value

    def events_tell_it_once(self) -> None:
        """Queued and started once, one end and nothing after it, progress rising."""
        told: dict[str, list[tuple[str, int]]] = {}
        for row in self.world.rows("SELECT job_id, type, data FROM events ORDER BY seq"):
            kind = row["type"].removeprefix("ingestion.")
            told.setdefault(row["job_id"], []).append((kind, _processed(row["data"])))
        for job_id, events in told.items():
            kinds = [kind for kind, _ in events]
            ends = [k for k in kinds if k in {"completed", "failed", "cancelled"}]
            assert kinds[0] == "queued" and kinds.count("queued") == 1 and kinds.count("started") <= 1
            assert len(ends) == (self.seen[job_id].status in {"completed", "failed", "cancelled"})
            assert not ends or kinds[-1] == ends[0] == self.seen[job_id].status
            rising = [n for kind, n in events if kind == "progress"]
            assert rising == sorted(set(rising))


def end_of(policy: FailurePolicy, most: int, chunks: dict[str, int]) -> str:
    """Return how a job ends whose chunks have ended, as docs/operations.md has it; `most` is 0 but for a threshold."""
    dead, total = chunks.get("failed", 0), sum(chunks.values())
    if dead == total if policy is FailurePolicy.BEST_EFFORT else dead > most:
        return "failed"
    return "cancelled" if "cancelled" in chunks else "completed"


def reachable(before: str, after: str) -> bool:
    """Return whether a job can have come there, in one step of the machine: it may pass through processing."""
    if before == after:
        return True
    nexts = JOB_TRANSITIONS[JobStatus(before)]
    return JobStatus(after) in nexts or any(JobStatus(after) in JOB_TRANSITIONS[n] for n in nexts)


def _processed(data: str) -> int:
    return int(orjson.loads(data).get("chunks_processed", 0))


def test_the_ledger_keeps_its_books(world: World) -> None:
    """Forty examples of thirty steps."""
    machine = type("Machine", (LedgerMachine,), {"world": world})
    health = [HealthCheck.too_slow, HealthCheck.data_too_large]
    kept = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=health)
    run_state_machine_as_test(machine, settings=kept)
