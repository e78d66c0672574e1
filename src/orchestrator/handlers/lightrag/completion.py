"""Who waits for which document, and what they are told when doc_status says that it ended.

Nothing else is success: LightRAG's calls return before the work is done, and raise nothing when it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.deliveries import Result
from orchestrator.errors import RejectError, RetryError
from orchestrator.limits.reason import NO_CREDENTIALS, NO_MODEL, TEXT_REFUSED, again_in

if TYPE_CHECKING:  # importing it imports LightRAG
    from orchestrator.handlers.lightrag.engine import DocumentStatus, Engine

log = logging.getLogger("orchestrator.lightrag")

GATHER_SHARE = 4
"""A quarter of what is waited for is looked up, settled and replaced together; at the end of a run all that is left."""
GATHER_SECONDS = 0.4  # for no longer is a quarter waited for
POLL_SECONDS = 1.0  # how often all that are waited for are looked up: not every end is told
FAILURES = 5
OUTAGE_SECONDS = 10.0
ABORTED = ("index flush failed", "Cancelled by internal error")
"""Stand in the reason when the whole run is about to end. Until it has, it writes such rows again, over new ones."""


@dataclass(frozen=True, eq=False, slots=True)
class Watched:
    """A document that was admitted, this once."""

    by: str  # the document whose status decides: itself, or the one with the same text


class Completion:
    """The waiting side of one workspace."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[str, set[asyncio.Future[Result]]] = {}  # by document
        self._decided: dict[str, Watched] = {}  # by document
        self._ended: set[str] = set()  # documents whose end was told
        self._fresh: set[str] = set()  # documents just admitted: their end may have been told before
        self._look = asyncio.Event()
        engine.on_end = self.look

    @property
    def waiting(self) -> bool:
        """Return whether anybody waits for a document that was admitted."""
        return bool(self._decided)

    def expect(self, doc_id: str) -> asyncio.Future[Result]:
        """Return a future of the document's end."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(doc_id, set()).add(future)
        return future

    def expected(self, doc_id: str) -> bool:
        """Return whether anybody still waits for the document."""
        return doc_id in self._waiting

    def forget(self, doc_id: str, future: asyncio.Future[Result]) -> None:
        """Wait no more. The document itself goes its way."""
        futures = self._waiting.get(doc_id, set())
        futures.discard(future)
        if not futures:
            self._waiting.pop(doc_id, None)
            self._decided.pop(doc_id, None)

    def watch(self, doc_id: str, decided_by: str) -> None:
        """The document was admitted; the status of `decided_by` tells its end."""
        if doc_id in self._waiting:
            self._decided[doc_id] = Watched(decided_by)
            self._fresh.add(decided_by)
            self._look.set()

    def look(self, doc_id: str) -> None:
        """Look soon: the document is said to have ended."""
        self._ended.add(doc_id)
        self._look.set()

    def fail(self, doc_id: str, error: RetryError | RejectError) -> None:
        """Tell those who wait for the document."""
        self._decided.pop(doc_id, None)
        for future in self._waiting.pop(doc_id, set()):
            if not future.done():
                future.set_exception(error)

    def fail_all(self, error: RetryError) -> None:
        """Tell everybody."""
        for doc_id in list(self._waiting):
            self.fail(doc_id, error)

    async def run(self) -> None:
        """Look as long as anybody waits. Ends only by cancellation."""
        failures, due = 0, None
        while True:
            try:
                await self.check(due)
                failures = 0
            except Exception as error:
                failures += 1
                log.warning("cannot read doc_status; will try again", extra={"error": type(error).__name__})
                if failures >= FAILURES:
                    self.fail_all(RetryError(f"doc_status cannot be read: {error}", counts=False, delay_seconds=5))
            due = await self._next(failures)

    async def _next(self, failures: int) -> set[str] | None:
        """Wait, and return which documents to look up; None for all, which is also what follows a failure."""
        if not self._decided:
            await self._look.wait()
        try:
            async with asyncio.timeout(POLL_SECONDS * (1 + failures) ** 2):
                await self._look.wait()
        except TimeoutError:
            return None
        if failures:
            await asyncio.sleep(GATHER_SECONDS)
        else:
            await self._gather()
        self._look.clear()
        due, self._ended, self._fresh = self._ended | self._fresh, set(), set()
        return None if failures else due

    async def _gather(self) -> None:
        """Wait until a share of what is waited for is said to have ended, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHER_SECONDS):
                while self._decided:
                    ended = self._ended & {watched.by for watched in self._decided.values()}
                    if len(ended) * GATHER_SHARE >= len(self._decided):
                        return
                    self._look.clear()
                    await self._look.wait()

    async def check(self, only: set[str] | None = None, *, at_rest: bool = False) -> int:
        """Resolve what has ended and return how many that were; `at_rest`: no run is under way.

        `only` are the deciding documents to look up, all when there are none given. What was admitted anew meanwhile is
        left to the next look: what was read is of its former run. Raises what the engine raises.
        """
        decided = {i: watched for i, watched in self._decided.items() if only is None or watched.by in only}
        if not decided:
            return 0
        found = await self._engine.statuses(sorted({watched.by for watched in decided.values()}))
        done = [i for i, status in found.items() if status.state == "processed"]
        counts = await self._engine.counts(done) if done else {}
        ended = 0
        for doc_id, watched in decided.items():
            by = watched.by
            if self._decided.get(doc_id) is not watched:
                continue
            if by in counts:
                self._resolve(doc_id, Result(*counts[by], duplicate_of=None if by == doc_id else by))
            elif not at_rest and _aborted(found.get(by)):
                continue
            elif (error := self._failure(doc_id, by, found.get(by))) is not None:
                self.fail(doc_id, error)
            else:
                continue
            ended += 1
        return ended

    def _resolve(self, doc_id: str, result: Result) -> None:
        self._decided.pop(doc_id, None)
        for future in self._waiting.pop(doc_id, set()):
            if not future.done():
                future.set_result(result)

    def _failure(self, doc_id: str, by: str, status: DocumentStatus | None) -> RetryError | RejectError | None:
        """Return why a document failed, None when it has not."""
        if status is None:
            return RetryError(f"document {by} has no row in doc_status: it was deleted, or LightRAG refused it")
        if status.state != "failed":
            return None
        whose = "" if by == doc_id else f"document {by} with the same text failed: "
        reason = f"{whose}{status.reason or 'LightRAG gives no reason'}"
        if (seconds := again_in(status.reason)) is not None:  # nothing was tried, so no attempt is burned
            return RetryError(reason, counts=False, delay_seconds=seconds)
        if NO_MODEL in status.reason or NO_CREDENTIALS in status.reason:
            return RetryError(reason, counts=False, delay_seconds=OUTAGE_SECONDS)
        if TEXT_REFUSED in status.reason and not _aborted(status):
            return RejectError(reason)
        return RetryError(reason)


def _aborted(status: DocumentStatus | None) -> bool:
    return status is not None and status.state == "failed" and any(sign in status.reason for sign in ABORTED)
