"""Dead letters: list, show, retry, drop. Tenants see those of their jobs; entries without a job are the operator's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query, Request

from orchestrator.api.auth import Authenticated, Caller
from orchestrator.api.bodies import read
from orchestrator.api.cursors import encode, letter_cursor
from orchestrator.api.deps import Deps, Needs
from orchestrator.api.jobs import PATIENCE_SECONDS, Cursor, Limit, links_of
from orchestrator.api.letters import (
    LARGEST_ID,
    LetterDetail,
    LetterPage,
    LetterSelection,
    LetterView,
    Name,
    Resolution,
    RetryJob,
)
from orchestrator.api.openapi import body, problems
from orchestrator.api.patience import within
from orchestrator.api.problems import ProblemError
from orchestrator.errors import DependencyError
from orchestrator.ledger.letters import Buried, DeadLetter, LetterStatus, Resolved, Selection
from orchestrator.sources.dead_letters import forget, put_back

log = logging.getLogger("orchestrator.dead-letters")

router = APIRouter(tags=["dead letters"])
Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
T = TypeVar("T", bound=LetterView)


@router.get("/dead-letters", responses=problems(401, 422, 503), summary="Dead letters, newest first")
async def list_letters(
    *,
    caller: Authenticated,
    deps: Needs,
    status: LetterStatus | None = None,
    worker_type: Annotated[Name | None, Query()] = None,
    job_id: Annotated[Name | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> LetterPage:
    """Return a page of the tenant's dead letters."""
    found = await deps.ledger.dead_letters.page(
        status=status,
        worker_type=worker_type,
        job_id=job_id,
        tenant=caller.scope,
        after=letter_cursor(cursor),
        limit=limit + 1,
    )
    shown = found[:limit]
    more = encode(shown[-1].id, "") if len(found) > limit else None
    return LetterPage(dead_letters=[_view(deps, letter, LetterView) for letter in shown], next_cursor=more)


@router.get("/dead-letters/{letter_id}", responses=problems(401, 404, 422, 503), summary="One dead letter")
async def get_letter(letter_id: Id, caller: Authenticated, deps: Needs) -> LetterDetail:
    """Return a letter with its reason and what was kept of it; of a chunk's text only the length."""
    return await _shown(deps, caller, letter_id)


@router.post(
    "/dead-letters/retry",
    responses=problems(401, 409, 413, 422, 503),
    openapi_extra=body(LetterSelection),
    summary="Retry many dead letters",
)
async def retry_letters(request: Request, caller: Authenticated, deps: Needs) -> Resolution:
    """Make a new job for the dead chunks of each job; put entries that are no chunk back on their stream.

    What came over a queue that is not ours is put back there by a worker of its type, and comes as a new job.
    """
    selection, asked = await _selection(request, caller)
    return _resolution(await _retry(deps, caller, selection), asked)


@router.post(
    "/dead-letters/drop",
    responses=problems(401, 413, 422, 503),
    openapi_extra=body(LetterSelection),
    summary="Drop many dead letters",
)
async def drop_letters(request: Request, caller: Authenticated, deps: Needs) -> Resolution:
    """Give the letters up: they are kept, and count as dead no more."""
    selection, asked = await _selection(request, caller)
    return _resolution(await _drop(deps, caller, selection), asked)


@router.post("/dead-letters/{letter_id}/retry", responses=problems(401, 404, 409, 422, 503), summary="Retry one")
async def retry_letter(letter_id: Id, caller: Authenticated, deps: Needs) -> LetterDetail:
    """Retry a dead letter; `retried_as` of the answer is the new job.

    One of a queue that is not ours is `retrying` until a worker has put it back there; it comes as a new job.
    """
    letter = await _shown(deps, caller, letter_id)
    if letter.status is LetterStatus.DEAD and not letter.retriable:
        raise ProblemError(409, f"Dead letter {letter_id} can only be dropped: not enough of it was kept.")
    done = await _retry(deps, caller, Selection(ids=[letter_id], tenant=caller.scope))
    letter = await _shown(deps, caller, letter_id)
    if not done.letters and not done.asked:
        raise _resolved_before(letter)
    return letter


@router.post("/dead-letters/{letter_id}/drop", responses=problems(401, 404, 409, 422, 503), summary="Drop one")
async def drop_letter(letter_id: Id, caller: Authenticated, deps: Needs) -> LetterDetail:
    """Drop a dead letter. Again changes nothing."""
    await _drop(deps, caller, Selection(ids=[letter_id], tenant=caller.scope))
    letter = await _shown(deps, caller, letter_id)
    if letter.status is not LetterStatus.DROPPED:
        raise _resolved_before(letter)
    return letter


async def _shown(deps: Deps, caller: Caller, letter_id: int) -> LetterDetail:
    return _view(deps, await deps.ledger.dead_letters.get(letter_id, caller.scope), LetterDetail)


def _view(deps: Deps, letter: DeadLetter, kind: type[T]) -> T:
    shown = {name: getattr(letter, name) for name in kind.model_fields}
    if letter.worker_type in _elsewhere(deps):
        shown["retriable"] = letter.status is LetterStatus.DEAD and letter.receipt is not None
    return kind(**shown)


def _resolved_before(letter: LetterDetail) -> ProblemError:
    if letter.status is LetterStatus.RETRYING:
        waits = f"is being put back at queue {letter.queue} by a worker of type {letter.worker_type}"
        return ProblemError(409, f"Dead letter {letter.id} {waits}. It can be dropped if none runs.")
    where = f" as job {letter.retried_as}" if letter.retried_as else ""
    return ProblemError(409, f"Dead letter {letter.id} was {letter.status} before{where}.")


async def _selection(request: Request, caller: Caller) -> tuple[Selection, int]:
    """Return what the body asks for, and how many letters it names."""
    asked = await read(request, LetterSelection)
    ids = None if asked.ids is None else sorted(set(asked.ids))
    selection = Selection(ids=ids, job_id=asked.job_id, worker_type=asked.worker_type, tenant=caller.scope)
    return selection, len(ids or ())


def _resolution(done: Resolved, asked: int) -> Resolution:
    jobs = [
        RetryJob(
            job_id=job.job_id,
            retry_of=job.metadata["retry_of"],
            chunks_total=job.chunks_total,
            links=links_of(job.job_id),
        )
        for job in done.jobs
    ]
    return Resolution(
        done=len(done.letters),
        asked=done.asked,
        more=done.more,
        skipped=max(0, asked - len(done.letters) - done.asked - done.stuck),
        only_to_drop=done.stuck,
        jobs=jobs,
    )


async def _retry(deps: Deps, caller: Caller, selection: Selection) -> Resolved:
    back = partial(put_back, deps.redis)
    done = await deps.ledger.dead_letters.retry(selection, actor=caller.name, put_back=back, elsewhere=_elsewhere(deps))
    for job in done.jobs:
        deps.dispatch.soon(job)
    await _forget(deps, done.letters)
    return done


def _elsewhere(deps: Deps) -> list[str]:
    """Return the worker types whose queues are not ours to fill."""
    return [kind.name for kind in deps.types.values() if not kind.own_queue]


async def _drop(deps: Deps, caller: Caller, selection: Selection) -> Resolved:
    done = await deps.ledger.dead_letters.drop(selection, actor=caller.name)
    await _forget(deps, done.letters)
    return done


async def _forget(deps: Deps, letters: Sequence[Buried]) -> None:
    """Remove the letters' copies in Redis. The ledger is the truth: a copy that stays is trimmed some day."""
    try:
        for queue in sorted({letter.queue for letter in letters}):
            await within(PATIENCE_SECONDS, _forget_of(deps, queue, [b for b in letters if b.queue == queue]))
    except (DependencyError, TimeoutError) as error:
        log.warning("copies of dead letters stay in Redis", extra={"error": str(error), "letters": len(letters)})


async def _forget_of(deps: Deps, queue: str, letters: Sequence[Buried]) -> None:
    receipts = [b.receipt for b in letters if b.job_id is None and b.receipt is not None]
    chunks = [(b.job_id, b.chunk_id) for b in letters if b.job_id is not None and b.chunk_id is not None]
    await forget(deps.redis, queue, receipts=receipts, chunks=chunks)
