"""One workspace's way in: chunks are collected, admitted in micro-batches, pumped through, and their ends told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.deliveries import Result
from orchestrator.errors import DependencyError, RetryError
from orchestrator.handlers.lightrag.admission import Admission
from orchestrator.handlers.lightrag.completion import Completion
from orchestrator.handlers.lightrag.identity import Document
from orchestrator.handlers.lightrag.lock import UNREACHABLE, WorkspaceLock
from orchestrator.handlers.lightrag.pump import Pump
from orchestrator.settings import LightRAGSettings
from orchestrator.tasks import end

if TYPE_CHECKING:  # importing it imports LightRAG
    from orchestrator.handlers.lightrag.engine import Engine

log = logging.getLogger("orchestrator.lightrag")

LATER_SECONDS = 2.0
HALT_SECONDS = 3.0


class Ingestor:
    """Holds the workspace's lock and its engine, and is useless once either is gone."""

    def __init__(self, engine: Engine, lock: WorkspaceLock, settings: LightRAGSettings) -> None:
        self._engine = engine
        self._lock = lock
        self._settings = settings
        self._inbox: asyncio.Queue[Document] = asyncio.Queue()
        self._admission = Admission(engine)
        self._completion = Completion(engine)
        self._pump = Pump(engine, self._completion)
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = ""

    @property
    def alive(self) -> bool:
        """Return whether it still holds its lock and takes chunks."""
        return not self._ended

    @property
    def working(self) -> bool:
        """Return whether the pipeline runs, be it for somebody or for what a dead predecessor left."""
        return self._pump.running

    def start(self) -> None:
        """Begin, first of all with what a predecessor left."""
        self._pump.wake()
        work = (self._collect(), self._pump.run(), self._completion.run())
        self._tasks = [asyncio.create_task(c) for c in work]
        watch = asyncio.create_task(self._watch(list(self._tasks)))
        self._tasks.append(watch)

    async def submit(self, document: Document) -> Result:
        """Return when the document, or the one with the same text, is PROCESSED. Raises RetryError.

        When the caller is cancelled nobody waits any longer, but a document that was admitted is still processed; the
        chunk's next delivery finds it by its id.
        """
        if self._ended:
            raise self._gone()
        future = self._completion.expect(document.id)
        self._inbox.put_nowait(document)
        try:
            return await future
        finally:
            self._completion.forget(document.id, future)

    async def close(self, *, drop: bool = False) -> None:
        """Stop in the order that leaves everything resumable; with `drop` delete all that the workspace holds."""
        self._stop("the worker closes the workspace")
        await _halt(self._tasks)
        try:
            if drop and not self._lock.lost.is_set():
                await self._engine.drop()
        except DependencyError as error:
            log.warning("workspace not dropped", extra={"error": str(error)})
        finally:
            try:
                await self._engine.close()
            finally:
                await self._lock.release()

    async def _watch(self, working: Sequence[asyncio.Task[None]]) -> None:
        """Stop everything when the lock is lost, or when a part ends that never should."""
        lost = asyncio.create_task(self._lock.lost.wait())
        try:
            done, _ = await asyncio.wait([lost, *working], return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        reason = "the workspace's lock was lost" if lost in done else "a part of the ingestor ended"
        broken = [str(t.exception()) for t in done if t is not lost and not t.cancelled() and t.exception()]
        if broken:
            log.error("ingestor broken", extra={"error": "; ".join(broken)})
        self._stop(reason)
        await _halt(working)

    def _stop(self, reason: str) -> None:
        self._ended = self._ended or reason
        self._completion.fail_all(self._gone())

    def _gone(self) -> RetryError:
        return RetryError(f"not finished: {self._ended}", counts=False, delay_seconds=LATER_SECONDS)

    async def _collect(self) -> None:
        while True:
            batch = [await self._inbox.get()]
            await asyncio.sleep(self._settings.micro_batch_linger_seconds)
            while len(batch) < self._settings.micro_batch and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            await self._admit([d for d in batch if self._completion.expected(d.id)])

    async def _admit(self, batch: Sequence[Document]) -> None:
        """Admit a batch, and tell those whose documents could not be admitted."""
        if not batch:
            return
        try:
            decided = await self._admission.admit(batch)
        except Exception as error:
            await self._not_admitted(batch, error)
            return
        for document in batch:
            if document.id in decided:
                self._completion.watch(document.id, decided[document.id])
            else:
                reason = "LightRAG had lost the text of its document; it is stored anew"
                self._completion.fail(document.id, RetryError(reason, counts=False, delay_seconds=0.5))
        self._pump.wake()

    async def _not_admitted(self, batch: Sequence[Document], error: Exception) -> None:
        """Tell the batch; when it may be one document's fault, admit one by one, so that it fails alone."""
        reason = f"cannot be handed to LightRAG: {type(error).__name__}: {error}"
        if isinstance(error, RetryError):
            answer = error
        elif isinstance(error, UNREACHABLE):
            answer = RetryError(reason, counts=False, delay_seconds=LATER_SECONDS)
        elif len(batch) > 1:
            for document in batch:
                await self._admit([document])
            return
        else:
            answer = RetryError(reason)
        for document in batch:
            self._completion.fail(document.id, answer)


async def _halt(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel the tasks once and give them time: a second time would hit LightRAG while it puts its flags back."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=HALT_SECONDS)
    await end(tasks)
