"""A delivery (a chunk handed to a worker once), and what can become of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from orchestrator.jobs import ChunkStatus


@dataclass(slots=True, frozen=True)
class Result:
    """What a handler did with one chunk (E-37). Counts are mentions in this chunk, not nodes of the graph."""

    entities: int = 0
    relations: int = 0
    duplicate_of: str | None = None
    detail: Mapping[str, Any] | None = None


NOTHING = Result()
"""The result of a run that found nothing to count."""


@dataclass(slots=True)
class Delivery:
    """A chunk in the hands of this worker.

    A source fills the first block. The ledger's claim fills the second; until then `content` is what the entry
    carried: None for our own entries, whose text is in the ledger. The pool fills the third before it acks.
    """

    receipt: str  # which message of the queue; the same at every delivery of it
    consumer: str
    job_id: str
    chunk_id: str
    workspace: str = ""
    content: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    chunks_total: int | None = None  # declared by an external producer
    problem: str | None = None  # why the entry is malformed; such a delivery is buried
    handle: Any = None  # what this delivery is settled with at the source, when the receipt alone will not do
    attempts_left: int | None = None  # that the producer allows, this one included; None: it is ours to say
    backoff_seconds: float | None = None  # that the producer wants before the next one; None: it is ours to say
    given_up: str = ""  # why its queue has given it up: it fails without a run

    lease_token: int = 0
    attempt: int = 1  # 1-based run of the handler
    deliveries: int = 1  # how often the chunk was handed out, crashes included
    counted: bool = True  # this time is among them; while a suspect waits to be run alone it is not
    job_type: str = ""
    source_uri: str = ""

    ended_as: ChunkStatus = ChunkStatus.PROCESSED
    result: Result = NOTHING
    reason: str = ""  # of an end as failed or cancelled, or of a failed attempt

    @property
    def key(self) -> tuple[str, str]:
        """Return (job_id, chunk_id), the chunk's identity everywhere."""
        return (self.job_id, self.chunk_id)


@dataclass(slots=True)
class Usage:
    """What one run of a handler used of the models, however it ended."""

    calls: int = 0  # answered, or cut off while the model worked on them
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)  # by the price table of the settings

    def add(
        self, *, calls: int = 0, prompt_tokens: int = 0, completion_tokens: int = 0, cost: Decimal = Decimal(0)
    ) -> None:
        """Add what a call used, or a share of it."""
        self.calls += calls
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cost += cost


class Verdict(StrEnum):
    """How a delivery ends. The values are those the ledger's settle statement understands."""

    PROCESSED = "processed"
    RETRY = "retry"  # the handler failed; again after a delay
    FAILED = "failed"  # dead: attempts spent, rejected, or poison
    RELEASE = "release"  # handed back untouched: drain, workspace busy; burns nothing


@dataclass(slots=True, frozen=True)
class Outcome:
    """The decision about one delivery."""

    verdict: Verdict
    result: Result | None = None
    reason: str = ""
    delay_seconds: float = 0.0
    ran: bool = True  # the handler ran to an end: this counts as an attempt
    usage: Usage | None = None


DONE = Outcome(Verdict.PROCESSED, NOTHING)
"""How a run of a handler ends that has nothing to count: the ledger has a short statement for these."""
