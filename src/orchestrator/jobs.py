"""Jobs and chunks: their states, the transitions allowed between them, and how progress is counted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class JobStatus(StrEnum):
    """States of a job (seed E-41, with `cancelled`)."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ChunkStatus(StrEnum):
    """States of a chunk. The counters of a job have the same names."""

    QUEUED = "queued"
    RUNNING = "running"
    PROCESSED = "processed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Priority(StrEnum):
    """Bands of a queue: a higher one goes first, and none starves."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Scope(StrEnum):
    """What can be held back."""

    TYPE = "type"
    QUEUE = "queue"
    TENANT = "tenant"
    JOB = "job"


class FailurePolicy(StrEnum):
    """What dead chunks mean for their job."""

    STRICT = "strict"  # the others run to their end, then the job has failed
    FAIL_FAST = "fail_fast"  # the first dead chunk fails the job and cancels the others
    THRESHOLD = "threshold"  # the same once more than `max_failed` are dead; fewer, and the job completes
    BEST_EFFORT = "best_effort"  # the job completes unless none was processed


JOB_TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.PROCESSING, JobStatus.CANCELLED}),
    JobStatus.PROCESSING: frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}

CHUNK_TRANSITIONS: Mapping[ChunkStatus, frozenset[ChunkStatus]] = {
    ChunkStatus.QUEUED: frozenset({ChunkStatus.RUNNING, ChunkStatus.CANCELLED}),
    # running -> running: the entry was redelivered after its worker died, and got a new lease token
    ChunkStatus.RUNNING: frozenset(
        {ChunkStatus.RUNNING, ChunkStatus.QUEUED, ChunkStatus.PROCESSED, ChunkStatus.FAILED, ChunkStatus.CANCELLED}
    ),
    ChunkStatus.PROCESSED: frozenset(),
    ChunkStatus.FAILED: frozenset(),
    ChunkStatus.CANCELLED: frozenset(),
}

TERMINAL_JOB: frozenset[JobStatus] = frozenset(s for s, nexts in JOB_TRANSITIONS.items() if not nexts)
TERMINAL_CHUNK: frozenset[ChunkStatus] = frozenset(s for s, nexts in CHUNK_TRANSITIONS.items() if not nexts)


def percent_complete(processed: int, total: int, *, declared: bool = True) -> float:
    """Return 0.00 to 100.00, two decimals, rounded down: 100 only when every chunk is processed (X-19).

    While its producer has not `declared` how many there will be, nobody knows which is the last: 99.99 at most.
    Raises ValueError when the numbers cannot be counters of one job.
    """
    if not 0 <= processed <= total or total < 1:
        raise ValueError(f"processed {processed} of {total} cannot be")
    return min(processed * 10_000 // total, 10_000 if declared else 9_999) / 100
