"""Dead letters, as OpenAPI documents them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from orchestrator.api.models import ID_LENGTH, Links
from orchestrator.ledger.dead_letters import MOST_AT_ONCE
from orchestrator.ledger.letters import LetterStatus

LARGEST_ID = 2**63 - 1


def _printable(text: str) -> str:
    if not text.isprintable():  # PostgreSQL would refuse a NUL; nothing of ours has such a name
        raise ValueError("must hold printable characters only")
    return text


Name = Annotated[str, Field(min_length=1, max_length=ID_LENGTH), AfterValidator(_printable)]
LetterId = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class LetterView(BaseModel):
    """A dead letter: a chunk whose attempts are spent, or (without a job) an entry that is no chunk."""

    id: int
    status: LetterStatus
    worker_type: str
    queue: str
    job_id: str | None
    chunk_id: str | None
    reason: str
    attempts: int = Field(description="handler runs that ended")
    deliveries: int = Field(description="how often it was handed out, crashes included")
    at: datetime
    resolved_at: datetime | None = Field(description="when it was retried or dropped")
    retried_as: str | None = Field(description="the job that its chunk went into")
    retriable: bool = Field(description="false: it can only be dropped, or was resolved, or is being put back")


class LetterDetail(LetterView):
    """A dead letter and what was kept of it; never the chunk's text."""

    payload: dict[str, Any] = Field(description="of an entry that is no chunk: what was in it, its text cut")
    text_length: int | None = Field(description="characters of the text")
    source_uri: str


class LetterPage(BaseModel):
    """Dead letters, newest first."""

    dead_letters: list[LetterView]
    next_cursor: str | None = Field(description="give it as `cursor` for the next page; null at the end")


class LetterSelection(BaseModel):
    """Which dead letters are meant: exactly one of the three."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"job_id": "8c5b4c1e-6f0f-4f0a-9f5e-0d6c3b1a2e77"}}
    )
    job_id: Name | None = Field(default=None, description="all of a job")
    worker_type: Name | None = Field(default=None, description="all of a worker type")
    ids: list[LetterId] | None = Field(default=None, min_length=1, max_length=MOST_AT_ONCE)

    @model_validator(mode="after")
    def _one(self) -> LetterSelection:
        if sum(value is not None for value in (self.job_id, self.worker_type, self.ids)) != 1:
            raise ValueError("give exactly one of job_id, worker_type and ids")
        return self


class RetryJob(BaseModel):
    """A job made for retried chunks of another."""

    job_id: str
    retry_of: str
    chunks_total: int
    links: Links


class Resolution(BaseModel):
    """What became of a selection of dead letters."""

    done: int = Field(description="letters retried or dropped by this call")
    asked: int = Field(description="of a retry: a worker of their type puts them back at their queue, within seconds")
    more: bool = Field(description=f"a call takes the oldest {MOST_AT_ONCE}; there are more: call again")
    skipped: int = Field(description="of `ids`: unknown, another tenant's, resolved before, or being put back")
    only_to_drop: int = Field(description="of a retry: they cannot be retried; drop them")
    jobs: list[RetryJob] = Field(description="of a retry: the new jobs, one for each job the chunks came from")
