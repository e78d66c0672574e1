"""What the API takes and gives, as OpenAPI documents it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.jobs import ChunkStatus, FailurePolicy, JobStatus, Priority, Scope

ID_LENGTH = 128
REASON_LENGTH = 500


def without_nul(text: str) -> str:
    """Return the text. Raises ValueError when PostgreSQL could not hold it."""
    if "\x00" in text:
        raise ValueError("must not hold the character NUL")
    return text


class FieldError(BaseModel):
    """One thing that is wrong in a request."""

    where: str = Field(examples=["chunks[3].text"])
    message: str = Field(examples=["must be a string"])


class Problem(BaseModel):
    """Problem details (RFC 9457). `correlation_id` finds the request in the log."""

    type: str = Field(default="about:blank")
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The request is not valid."])
    instance: str = Field(examples=["/lightrag/ingest-async"])
    correlation_id: str = Field(examples=["5f0c3c1d9a7e4b0e8a3c"])
    errors: list[FieldError] | None = None
    checks: dict[str, str] | None = Field(default=None, description="of /ready: dependency -> up or down")


class IngestChunk(BaseModel):
    """A piece of text to be worked into the graph."""

    model_config = ConfigDict(extra="forbid")
    text: str
    source_uri: str | None = Field(default=None, max_length=2048)
    chunk_id: str | None = Field(default=None, min_length=1, max_length=ID_LENGTH, description="given: chunk-00001 …")
    metadata: dict[str, Any] | None = None


class IngestRequest(BaseModel):
    """A job to be done: chunks of text for one workspace."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "chunks": [
                    {"text": "Test chunk 1", "source_uri": "test://1"},
                    {"text": "Test chunk 2", "source_uri": "test://2"},
                ],
                "source_type": "test",
            }
        },
    )
    chunks: list[IngestChunk] = Field(min_length=1)
    source_type: str = Field(default="", max_length=ID_LENGTH)
    workspace: str | None = Field(
        default=None,
        description="the tenant's name, or a name that begins with it and a dash; given: the tenant's name",
    )
    metadata: dict[str, Any] | None = None
    priority: Priority = Field(default=Priority.NORMAL, description="higher bands go first; none starves")
    delay_seconds: float | None = Field(default=None, ge=0, description="start no earlier than so long after now")
    not_before: datetime | None = Field(
        default=None, description="start no earlier than this; instead of delay_seconds"
    )
    failure_policy: FailurePolicy = Field(
        default=FailurePolicy.STRICT,
        description="strict: a dead chunk fails the job at its end; fail_fast: at once, the others are cancelled; "
        "threshold: the same once more than max_failed are dead; best_effort: fails when none was processed",
    )
    max_failed: int | None = Field(default=None, ge=0, description="of failure_policy threshold")
    budget: float | None = Field(default=None, ge=0, description="what the job's model calls may cost; then it pauses")


class Links(BaseModel):
    """Where to go on from a job."""

    self: str = Field(examples=["/jobs/8c5b4c1e-6f0f-4f0a-9f5e-0d6c3b1a2e77"])
    chunks: str
    events: str
    cancel: str


class Accepted(BaseModel):
    """A job has been written down; it will be done."""

    job_id: str
    status: JobStatus
    links: Links


class Counts(BaseModel):
    """Chunks of a job by state; they add up to `chunks_total`."""

    queued: int
    running: int
    processed: int
    failed: int
    cancelled: int


class Usage(BaseModel):
    """What a job's model calls used so far, failed runs included."""

    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float = Field(description="by the price table of the settings, in its currency")
    budget: float | None = Field(description="the job pauses when its cost reaches this")


class HeldBack(BaseModel):
    """What holds a job back."""

    scope: Scope = Field(description="of its worker type, its queue, its tenant or the job itself")
    name: str
    reason: str


class JobView(BaseModel):
    """A job, as the ledger knows it; `stale` when it came from the fast view because PostgreSQL did not answer."""

    job_id: str
    status: JobStatus
    chunks_total: int
    chunks_processed: int
    percent_complete: float = Field(description="rounded down: 100 only when every chunk is processed")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    job_type: str
    source_type: str
    workspace: str
    counts: Counts
    entities: int = Field(description="mentions found, not nodes of the graph")
    relations: int
    error: str | None
    error_chunk_id: str | None
    priority: Priority
    not_before: datetime | None
    failure_policy: FailurePolicy
    max_failed: int
    usage: Usage
    paused: list[HeldBack] = Field(default=[], description="not empty: nothing of the job starts until all are resumed")
    metadata: dict[str, Any]
    stale: bool = False
    links: Links


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobView]
    next_cursor: str | None = Field(description="give it as `cursor` for the next page; null at the end")


class ChunkView(BaseModel):
    """A chunk, without its text."""

    chunk_id: str
    seq: int
    status: ChunkStatus
    source_uri: str
    metadata: dict[str, Any] | None
    attempts: int = Field(description="handler runs that ended")
    deliveries: int = Field(description="how often it was handed out, crashes included")
    consumer: str | None
    error: str | None
    entities: int
    relations: int
    duplicate_of: str | None
    started_at: datetime | None
    ended_at: datetime | None
    due_at: datetime | None = Field(description="of a retry that waits")


class ChunkPage(BaseModel):
    """Chunks of a job in their order."""

    chunks: list[ChunkView]
    next_cursor: str | None


class PauseRequest(BaseModel):
    """Why something is held back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "the model is being replaced"}})
    reason: Annotated[str, Field(max_length=REASON_LENGTH), AfterValidator(without_nul)] = ""


class PauseView(HeldBack):
    """Something that is held back."""

    by: str = Field(description="a key's name, or what in the system did it")
    at: datetime


class PauseList(BaseModel):
    """What is held back, the latest first."""

    pauses: list[PauseView]


class QueryRequest(BaseModel):
    """A question to the graph of a workspace."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"query": "What does apt depend on?", "mode": "hybrid"}}
    )
    query: str = Field(min_length=1, max_length=8192)
    mode: Literal["local", "global", "hybrid", "naive", "mix"] = "hybrid"
    workspace: str | None = None


class QueryAnswer(BaseModel):
    """An answer and what it rests on."""

    answer: str
    sources: list[str] = Field(description="source URIs of the chunks the answer was made from")


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["up"] = "up"


class Readiness(BaseModel):
    """What the API needs answers."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str] = Field(examples=[{"postgresql": "up", "redis": "up"}])


Health = Literal["up", "degraded", "down"]


class TypeHealth(BaseModel):
    """One worker type."""

    status: Health
    active_workers: int = Field(description="slots seen within a lease")
    busy: int = Field(description="chunks in their hands")
    queue_depth: int = Field(description="chunks that wait, by the ledger")
    running: int
    dead: int
    processing_rate: float = Field(description="chunks per second over the last minute, measured by the workers")


class HealthReport(BaseModel):
    """E-28, over all types and for each."""

    status: Health
    active_workers: int
    queue_depth: int
    processing_rate: float
    dead: int
    error: str | None
    checks: dict[str, str]
    version: str
    workers: dict[str, TypeHealth]
