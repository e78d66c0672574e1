"""Judge a situation: every reason why a job does not move, the gravest first, with the command that mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from orchestrator.jobs import TERMINAL_JOB, JobStatus, Scope
from orchestrator.limits.reason import WAITING
from orchestrator.why import remedies
from orchestrator.why.model import trouble
from orchestrator.why.remedies import DEPLOY, WAIT
from orchestrator.why.situation import OTHERS, REFUSED, Holding, Later, Situation

BUDGET = "budget"
IN_TURN = (
    f"{WAIT}: calls take turns; orchestrator limits shows them. If LIMIT is at CEILING there, raise "
    f"orchestrator_workers_llm_max_concurrency or orchestrator_workers_embedding_max_concurrency, then {DEPLOY}"
)
AGAIN = "orchestrator submit: submit it again, for what has ended does not go on"


class Kind(StrEnum):
    """Classes of what holds a job up."""

    ENDED = "ended"
    PAUSED = "paused"
    BUDGET_SPENT = "budget_spent"
    DELAYED = "delayed"
    NO_WORKER = "no_worker"
    OBSTACLE = "obstacle"
    REDIS_AWAY = "redis_away"
    DISAGREE = "disagree"
    WRONG_CREDENTIALS = "wrong_credentials"
    MODEL_AWAY = "model_away"
    MODEL_LIMITER = "model_limiter"
    HELD_BY_DEAD = "held_by_dead"
    RETRY_LATER = "retry_later"
    HELD = "held"
    QUEUED_BEHIND = "queued_behind"
    DEAD_LETTERED = "dead_lettered"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that holds a job up, or would."""

    kind: Kind
    text: str
    remedy: str = ""  # a command that mends it, or that only waiting does; empty: nothing is held up
    until: datetime | None = None  # when it ends by itself
    chunks: int = 0


def reasons(s: Situation) -> list[Reason]:
    """Return why the job stands where it stands; never empty."""
    if s.job.status in TERMINAL_JOB:
        return list(_ended(s))
    found = [*_held_back(s), *_nobody(s), *_redis(s), *_later(s), *_holding(s), *_queued(s), *_dead(s)]
    return found or [
        Reason(Kind.NEXT, "nothing holds it up: its chunks are next", f"{WAIT}: orchestrator watch {s.job.job_id}")
    ]


def _ended(s: Situation) -> Iterator[Reason]:
    job = s.job
    yield Reason(
        Kind.ENDED, f"it has ended: {job.status.value}" + (f" ({job.error_message})" if job.error_message else "")
    )
    if job.failed:
        yield from _dead(s)
    elif job.status is JobStatus.CANCELLED:
        yield Reason(Kind.ENDED, f"{job.cancelled} of {job.chunks_total} chunks were cancelled", AGAIN)


def _held_back(s: Situation) -> Iterator[Reason]:
    """Pauses, and a time that has not come."""
    for pause in s.pauses:
        if pause.scope is Scope.JOB and pause.by == BUDGET:
            spent = f"its model calls cost {_money(s.job.cost)} of a budget of {_money(s.job.budget)}"
            yield Reason(Kind.BUDGET_SPENT, f"paused: {spent}", f"orchestrator budget {s.job.job_id} AMOUNT")
        else:
            why = f": {pause.reason}" if pause.reason else ""
            text = f"{pause.scope.value} {pause.name} was paused by {pause.by} at {_time(pause.at)}{why}"
            yield Reason(Kind.PAUSED, text, f"orchestrator resume {pause.scope.value} {pause.name}")
    if s.job.not_before is not None and s.job.not_before > s.now:
        text = f"it was submitted to start no earlier than {_time(s.job.not_before)}"
        begins = f"{WAIT}: it begins by itself"
        yield Reason(Kind.DELAYED, text, begins, until=s.job.not_before, chunks=s.job.queued)


def _nobody(s: Situation) -> Iterator[Reason]:
    """Workers that live and cannot work; without them, that there is none."""
    for found in s.obstacles:
        text = f"the worker of type {s.job.worker_type} on host {found.host} cannot work: {found.what}"
        kind = Kind.WRONG_CREDENTIALS if found.credentials else Kind.OBSTACLE
        yield Reason(kind, text, remedies.obstacle(credentials=found.credentials))
    if s.alive == 0 and not s.obstacles:
        text = f"no worker of type {s.job.worker_type} was seen in the last {s.lease_seconds:g} s"
        yield Reason(Kind.NO_WORKER, text, remedies.worker(s.job.worker_type))


def _redis(s: Situation) -> Iterator[Reason]:
    if s.redis:
        kind, remedy = Kind.REDIS_AWAY, remedies.REDIS_AWAY
        if s.redis.startswith(REFUSED):
            kind, remedy = Kind.WRONG_CREDENTIALS, remedies.REDIS_REFUSES
        yield Reason(kind, f"work is dispatched by Redis, and {s.redis}", remedy)
    elif s.missing > 0:
        text = f"Redis and the ledger disagree: {s.missing} entries of queue {s.job.queue} are gone from Redis"
        yield Reason(Kind.DISAGREE, text, remedies.FIX)


def _later(s: Situation) -> Iterator[Reason]:
    if s.later is not None:
        yield _put_off(s, s.later)


def _put_off(s: Situation, later: Later) -> Reason:
    when = f"{later.chunks} chunks wait to be tried again, the first at {_time(later.due_at)}"
    error = later.error or "no reason was given"
    tries = f"attempt {later.attempts} of {s.retry_attempts} failed" if later.attempts else "no attempt was made"
    kind = Kind.RETRY_LATER
    remedy = f"{WAIT}: they are tried again by themselves; orchestrator job {s.job.job_id} --chunks shows each"
    if (found := trouble(error)) is not None:
        kind, remedy = Kind.WRONG_CREDENTIALS if found.credentials else Kind.MODEL_AWAY, found.remedy
    return Reason(kind, f"{when}; {tries}: {error}", remedy, until=later.due_at, chunks=later.chunks)


def _holding(s: Situation) -> Iterator[Reason]:
    for h in sorted(s.holding, key=lambda h: h.since):
        yield _held(s, h)


def _held(s: Situation, h: Holding) -> Reason:
    seconds = (s.now - h.since).total_seconds()
    silent = None if h.seen_at is None else (s.now - h.seen_at).total_seconds()
    if h.gone or silent is None or silent > s.lease_seconds:
        last = "was never seen" if silent is None else "has stopped" if h.gone else f"was last seen {silent:.0f} s ago"
        until = max(h.since, h.seen_at or h.since) + timedelta(seconds=s.lease_seconds)
        text = f"{h.chunks} chunks are held by {h.consumer}, which {last}; others take them when their lease ends"
        remedy = f"{WAIT}; to bring it back, on its host: {remedies.worker(s.job.worker_type)}"
        return Reason(Kind.HELD_BY_DEAD, text, remedy, until=until, chunks=h.chunks)
    step = h.step or "at work"
    if step.startswith(WAITING):
        text = f"{h.chunks} chunks are held by {h.consumer} for {seconds:.0f} s, {step}"
        return Reason(Kind.MODEL_LIMITER, text, IN_TURN, chunks=h.chunks)
    text = f"{h.chunks} chunks are held by {h.consumer} for {seconds:.0f} s, at step: {step}"
    return Reason(Kind.HELD, text, f"{WAIT}: it is at work; orchestrator watch {s.job.job_id}", chunks=h.chunks)


def _queued(s: Situation) -> Iterator[Reason]:
    if not s.ready or not s.ahead:
        return
    listed = ", ".join(f"{a.chunks} chunks of {_whose(s, a.tenant)}" for a in s.ahead)
    waits = f"{s.ready} chunks wait in queue {s.job.queue} ({s.undispatched} of them not yet on the stream)"
    text = f"{waits}, band {s.job.priority.value}, beside {listed}"
    remedy = f"{WAIT}: tenants take turns; a job goes first that was submitted by orchestrator submit --priority high"
    yield Reason(Kind.QUEUED_BEHIND, text, remedy, chunks=s.ready)


def _whose(s: Situation, tenant: str) -> str:
    if tenant == s.job.tenant:
        return "other jobs of the same tenant"
    return f"tenant {tenant}" if tenant != OTHERS else "other tenants"


def _dead(s: Situation) -> Iterator[Reason]:
    if s.job.failed:
        text = f"{s.job.failed} chunks are dead; the first ({s.job.error_chunk_id}): {s.job.error_message}"
        listed, retry = (f"orchestrator dead-letters {act} --job {s.job.job_id}" for act in ("list", "retry"))
        yield Reason(Kind.DEAD_LETTERED, text, f"{listed}; {retry}", chunks=s.job.failed)


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _money(amount: Decimal | None) -> str:
    return "nothing" if amount is None else f"{amount.normalize():f}"
