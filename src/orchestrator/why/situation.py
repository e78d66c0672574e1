"""What is known of a job that may be waiting. Plain data, gathered by `facts`, judged by `reasons`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.ledger.jobs import Job
from orchestrator.ledger.obstacles import Obstacle
from orchestrator.ledger.pauses import Pause

OTHERS = ""
"""In place of the names of other tenants, for a reader who is one himself."""

REFUSED = "Redis refuses our user"
"""So begins what is said of a Redis that answers, and not to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A consumer that has chunks of the job in its hands, by the ledger."""

    consumer: str
    chunks: int
    since: datetime  # of the oldest of them
    step: str  # what its longest run said last; empty where that is of another job
    seen_at: datetime | None  # its last heartbeat; None: it never had one
    gone: bool  # stopped, or begun again since


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Chunks of the job that wait for their time after a run that failed or was put off."""

    chunks: int
    due_at: datetime  # of the first
    attempts: int  # of that one
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Chunks of another tenant, or of other jobs of the same, in its queue: nothing paused, and no lower band."""

    tenant: str
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that is looked at, at one moment."""

    now: datetime
    job: Job
    pauses: Sequence[Pause]
    holding: Sequence[Holding]
    later: Later | None
    ready: int  # chunks that could be run now
    undispatched: int  # of these, how many are not on the stream yet
    ahead: Sequence[Ahead]
    alive: int  # consumers of the type seen lately, in the cluster
    obstacles: Sequence[Obstacle]  # of workers of the type
    lease_seconds: float
    retry_attempts: int
    redis: str  # why Redis cannot be asked; empty when it answers
    missing: int  # entries that Redis should hold and does not
