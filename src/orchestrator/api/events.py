"""GET /events/stream: server-sent events (E-46) with ids, replay after Last-Event-ID, heartbeats and filters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestrator.api.auth import Authenticated
from orchestrator.api.deps import Needs
from orchestrator.api.openapi import problems
from orchestrator.api.problems import ProblemError, invalid
from orchestrator.errors import DependencyError, NotFoundError
from orchestrator.events.follow import Subscription
from orchestrator.events.log import Event

log = logging.getLogger("orchestrator.api")

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
OPENING = b"retry: 2000\n: connected\n\n"
HEARTBEAT = b": heartbeat\n\n"
MAX_ID = 2**63 - 1
EXAMPLE = """id: 41
event: ingestion.progress
data: {"job_id":"8c5b…","at":"2026-01-01T12:00:00Z","chunks_processed":3,"chunks_total":60,"percent_complete":5.0}
"""

router = APIRouter(tags=["events"])


def frame(event: Event) -> bytes:
    """Return an event as the wire has it. JSON holds no raw line end, so nothing in it can forge another field."""
    data = orjson.dumps({"job_id": event.job_id, "at": event.at, **event.data})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), data)


class EventStream(StreamingResponse):
    """A stream that leaves its subscription whichever way it ends."""

    media_type = MEDIA_TYPE

    def __init__(self, subscription: Subscription, heartbeat_seconds: float) -> None:
        super().__init__(frames(subscription, heartbeat_seconds), headers=HEADERS)
        self._subscription = subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client leaves or the subscription ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._subscription.close()


async def frames(subscription: Subscription, heartbeat_seconds: float) -> AsyncIterator[bytes]:
    """Yield the wire form of the events, with a comment when there was none for a while."""
    pending: asyncio.Task[list[Event]] | None = None
    yield OPENING
    try:
        while True:
            pending = pending or asyncio.create_task(subscription.batch())
            done, _ = await asyncio.wait({pending}, timeout=heartbeat_seconds)
            if not done:
                yield HEARTBEAT
                continue
            events, pending = pending.result(), None
            if not events:
                return
            yield b"".join(map(frame, events))
    except DependencyError as error:  # the client comes back with its last id
        log.warning("stream ended", extra={"error": str(error)})
    finally:
        if pending is not None:
            pending.cancel()


@router.get(
    "/events/stream",
    status_code=200,  # FastAPI would look for it in our class
    response_class=EventStream,
    responses={
        200: {
            "description": "Events until the client leaves.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}},
        },
        **problems(401, 404, 422, 503),
    },
    summary="Follow events",
)
async def stream(
    *,
    caller: Authenticated,
    deps: Needs,
    job_id: Annotated[str | None, Query(max_length=128, description="only this job's, from its first")] = None,
    last_event_id: Annotated[str | None, Query(description="as the header, for clients that cannot send one")] = None,
    header: Annotated[
        str | None, Header(alias="Last-Event-ID", description="resume after this event; wins over the query")
    ] = None,
) -> EventStream:
    """Follow the tenant's events from now on, after an id, or one job's from its beginning.

    No event is missed or repeated across a reconnect with the last id. Event ids grow; they are not contiguous.
    """
    if deps.follower.subscribers >= deps.settings.sse_max_streams:
        raise ProblemError(503, "Too many open streams.", headers={"Retry-After": "5"})
    after = _event_id(header if header is not None else last_event_id)
    if job_id is not None:
        if not job_id.isprintable():
            raise NotFoundError(f"no job {job_id!r}")
        await deps.ledger.jobs.get(job_id, caller.scope)
        after = after or 0
    subscription = await deps.follower.subscribe(after, job_id=job_id, tenant=caller.scope)
    return EventStream(subscription, deps.settings.sse_heartbeat_seconds)


def _event_id(text: str | None) -> int | None:
    if not text:  # a browser sends an empty id when it has none
        return None
    if not (text.isascii() and text.isdecimal()) or int(text[:20]) > MAX_ID:
        raise invalid(("last_event_id", "must be the id of an event, a whole number"))
    return int(text)
