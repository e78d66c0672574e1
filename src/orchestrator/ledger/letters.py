"""What a dead letter is, which of them somebody means, and what became of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from orchestrator.deliveries import Delivery
from orchestrator.ledger.jobs import Job

TEXT_KEPT = 2000
"""Characters of a malformed entry's text that are kept: enough to recognise it."""
WHOLE_KEPT = 256 * 1024
"""Characters of a sound entry's text up to which all of it is kept, so that it can be put back."""


class LetterStatus(StrEnum):
    """What became of a dead letter."""

    DEAD = "dead"
    RETRYING = "retrying"  # a worker of its type is to put it back at its queue, which is not ours
    RETRIED = "retried"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead chunk, or an entry that is no chunk of ours: that one has no job and belongs to no tenant."""

    id: int
    worker_type: str
    queue: str
    job_id: str | None
    chunk_id: str | None
    tenant: str | None
    status: LetterStatus
    reason: str
    attempts: int
    deliveries: int
    at: datetime
    resolved_at: datetime | None
    retried_as: str | None  # the job its chunk went into
    receipt: str | None  # which message of its queue it was; of our own chunks only the last entry
    retriable: bool  # at our own queue; else it can only be dropped
    # of one letter, when it is shown by itself:
    payload: Mapping[str, Any] = field(default_factory=dict)  # of an entry: what was in it; its text cut
    text_length: int | None = None
    source_uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters are meant: by id, or all of a job or of a worker type; `tenant` None means everybody's."""

    ids: Sequence[int] | None = None
    job_id: str | None = None
    worker_type: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Buried:
    """What tells a resolved letter, and with that its copy in Redis."""

    id: int
    queue: str
    job_id: str | None
    chunk_id: str | None
    receipt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What became of a selection."""

    letters: Sequence[Buried] = ()
    jobs: Sequence[Job] = ()  # made for retried chunks, to be dispatched
    more: bool = False  # the selection holds more than one call may take
    asked: int = 0  # a worker of their type is to put them back at their queue
    stuck: int = 0  # dead letters of the selection that cannot be retried


def payload_of(delivery: Delivery) -> dict[str, Any]:
    """Return what is kept of an entry: all of a sound one (`whole`), and of a malformed one enough to recognise it."""
    text = delivery.content
    if delivery.problem is not None or len(text or "") > WHOLE_KEPT:
        names = {"job_id": _clean(delivery.job_id), "chunk_id": _clean(delivery.chunk_id)}
        return {**names, "content": _clean(text or "")}
    found: dict[str, Any] = {"job_id": delivery.job_id, "chunk_id": delivery.chunk_id, "whole": True}
    optional = {
        "workspace": delivery.workspace,
        "content": text,
        "source_uri": delivery.source_uri,
        "metadata": dict(delivery.metadata),
        "chunks_total": delivery.chunks_total,
    }
    return found | {name: value for name, value in optional.items() if value or (name, value) == ("content", "")}


def _clean(text: str) -> str:
    return text[:TEXT_KEPT].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
