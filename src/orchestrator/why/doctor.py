"""The doctor: looks at a worker type as a whole, says what is wrong and what mends it, and mends what is safe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.jobs import Scope
from orchestrator.ledger import Ledger
from orchestrator.ledger.obstacles import Obstacle
from orchestrator.ledger.pauses import Pause
from orchestrator.limits.reason import THROTTLED
from orchestrator.limits.view import LimitView
from orchestrator.settings import WorkerTypeSettings
from orchestrator.sources.base import Source
from orchestrator.why import remedies
from orchestrator.why.facts import missing_entries
from orchestrator.why.model import SLOWED, TROUBLES, trouble
from orchestrator.why.situation import REFUSED

STILL_SECONDS = 600.0
"""A job that should move and has not for so long is named."""


class Complaint(StrEnum):
    """What can be wrong with a worker type."""

    NO_WORKER = "no_worker"
    FEW_WORKERS = "few_workers"
    OBSTACLE = "obstacle"
    REDIS = "redis"
    DISAGREE = "disagree"
    STRANDED = "stranded"
    DEAD_LETTERS = "dead_letters"
    PAUSED = "paused"
    STILL = "still"
    MODEL = "model"
    MODEL_CREDENTIALS = "model_credentials"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that an operator should know."""

    complaint: Complaint
    worker_type: str
    text: str
    remedy: str
    safe: bool = False  # the doctor can mend it: nothing can be lost or done twice by it


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOff:
    """Chunks that wait to be tried again because of a model endpoint."""

    words: str  # of its trouble
    chunks: int
    error: str  # of one of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of one worker type."""

    name: str
    queue: str
    slots: int  # of one host, by the settings
    alive: int  # in the whole cluster
    obstacles: Sequence[Obstacle]
    redis: str  # why the queue cannot be asked; empty when it can
    missing: int  # entries that Redis should hold and does not
    stranded: int  # chunks in the hands of dead workers
    dead: int
    pauses: Sequence[Pause]
    still: Sequence[str]  # jobs that have not moved for long
    put_off: Sequence[PutOff]  # for a model endpoint


async def look(ledger: Ledger, kind: WorkerTypeSettings, source: Source | None) -> Look:
    """Look at one worker type; without `source` its queue is not ours, and not compared with the ledger.

    Raises DependencyError when PostgreSQL does not answer.
    """
    redis, missing = await missing_entries(ledger, kind.name, kind.stream, source.depth) if source else ("", 0)
    totals = (await ledger.workers.totals()).get(kind.name)
    own = {(Scope.TYPE, kind.name), (Scope.QUEUE, kind.stream)}
    shared = {Scope.TENANT, Scope.JOB}
    pauses = [p for p in await ledger.pauses.all() if p.scope in shared or (p.scope, p.name) in own]
    return Look(
        name=kind.name,
        queue=kind.stream,
        slots=kind.size,
        alive=sum(w.worker_type == kind.name for w in await ledger.workers.alive(kind.lease_seconds)),
        obstacles=await ledger.obstacles.of_type(kind.name, kind.lease_seconds),
        redis=redis,
        missing=missing,
        stranded=int(await ledger.database.value("doctor_stranded", kind.name, kind.lease_seconds)),
        dead=totals.dead if totals else 0,
        pauses=pauses,
        still=[row["job_id"] for row in await ledger.database.fetch("doctor_still", kind.name, STILL_SECONDS)],
        put_off=[
            PutOff(**row)
            for row in await ledger.database.fetch(
                "doctor_put_off", kind.name, kind.lease_seconds, [t.words for t in TROUBLES]
            )
        ],
    )


def findings(seen: Look) -> list[Finding]:
    """Judge what was seen; empty: all is well. Pure."""
    return [*_workers(seen), *_queue(seen), *_models(seen), *_work(seen)]


def throttled(limits: Sequence[LimitView]) -> list[Finding]:
    """Judge the endpoints that all worker types share: one that wants no calls for a while is named. Pure."""
    return [
        Finding(
            Complaint.MODEL,
            "",
            f"{THROTTLED}: {v.kind} {v.url} wants no call before {v.throttled_until:%Y-%m-%d %H:%M:%S} UTC",
            SLOWED,
        )
        for v in limits
        if v.throttled_until is not None
    ]


def _workers(s: Look) -> Iterator[Finding]:
    for found in s.obstacles:
        text = f"the worker on host {found.host} cannot work: {found.what}"
        yield Finding(Complaint.OBSTACLE, s.name, text, remedies.obstacle(credentials=found.credentials))
    if s.alive == 0 and not s.obstacles:
        yield Finding(Complaint.NO_WORKER, s.name, "no worker was seen within a lease", remedies.worker(s.name))
    elif 0 < s.alive < s.slots:
        text = f"{s.alive} of {s.slots} slots were seen within a lease"
        yield Finding(Complaint.FEW_WORKERS, s.name, text, remedies.worker(s.name))


def _queue(s: Look) -> Iterator[Finding]:
    if s.redis:
        remedy = remedies.REDIS_REFUSES if s.redis.startswith(REFUSED) else remedies.REDIS_AWAY
        yield Finding(Complaint.REDIS, s.name, s.redis, remedy)
    if s.missing:
        text = f"Redis and the ledger disagree: {s.missing} entries of queue {s.queue} are gone from Redis"
        yield Finding(Complaint.DISAGREE, s.name, text, remedies.FIX, safe=True)
    if s.stranded:
        text = f"{s.stranded} chunks are in the hands of workers that are dead"
        yield Finding(Complaint.STRANDED, s.name, text, remedies.FIX, safe=True)


def _models(s: Look) -> Iterator[Finding]:
    for put_off in s.put_off:
        if (found := trouble(put_off.error)) is not None:
            complaint = Complaint.MODEL_CREDENTIALS if found.credentials else Complaint.MODEL
            text = f"{put_off.chunks} chunks wait to be tried again: {put_off.error}"
            yield Finding(complaint, s.name, text, found.remedy)


def _work(s: Look) -> Iterator[Finding]:
    if s.dead:
        ours = "; ".join(f"orchestrator dead-letters {act} --type {s.name}" for act in ("list", "retry"))
        yield Finding(Complaint.DEAD_LETTERS, s.name, f"{s.dead} dead letters wait for a decision", ours)
    for pause in s.pauses:
        text = f"{pause.scope.value} {pause.name} is paused by {pause.by}" + (
            f": {pause.reason}" if pause.reason else ""
        )
        yield Finding(Complaint.PAUSED, s.name, text, f"orchestrator resume {pause.scope.value} {pause.name}")
    for job_id in s.still:
        text = f"job {job_id} has not moved for {STILL_SECONDS / 60:.0f} minutes"
        yield Finding(Complaint.STILL, s.name, text, f"orchestrator why {job_id}")


async def mend(ledger: Ledger, kind: WorkerTypeSettings, found: Sequence[Finding]) -> list[str]:
    """Do what is safe about the findings of one type; return what was done. Raises DependencyError."""
    done = []
    complaints = {f.complaint for f in found if f.safe and f.worker_type == kind.name}
    if Complaint.STRANDED in complaints:
        count = await ledger.chunks.requeue_stranded(kind.name, kind.lease_seconds)
        done.append(f"{kind.name}: {count} chunks of dead workers put back to the queue")
    if complaints & {Complaint.DISAGREE, Complaint.STRANDED} and kind.own_queue:
        jobs = await ledger.outbox.redispatch(kind.name, kind.stream)
        done.append(f"{kind.name}: {jobs} jobs put up for dispatch again")
    return done
