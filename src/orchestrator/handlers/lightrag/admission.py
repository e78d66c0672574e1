"""What to do with each new chunk, given what LightRAG already knows of it and of its text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from orchestrator.handlers.lightrag.identity import Document

if TYPE_CHECKING:  # importing it imports LightRAG
    from orchestrator.handlers.lightrag.engine import Engine


class Step(Enum):
    """What a document needs."""

    ENQUEUE = "enqueue"  # never seen
    RESET = "reset"  # FAILED: left alone it stays so for ever
    WATCH = "watch"  # under way, or done


def decide(state: str | None) -> Step:
    """Return what a document in this state of doc_status needs; None is one that has no row."""
    if state is None:
        return Step.ENQUEUE
    return Step.RESET if state == "failed" else Step.WATCH


class Admission:
    """Brings documents into one engine so that each has a row whose status will tell how it ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def admit(self, documents: Sequence[Document]) -> dict[str, str]:
        """Return for each document's id the id whose status decides about it: its own, or that of the same text.

        Two chunks with one text become one document. LightRAG refuses the second without an exception and never writes
        its row, so whoever waited for that row would wait for ever. A document missing from the answer cannot be
        admitted now but can be shortly. Raises what the engine raises; then admitting again does no harm.
        """
        batch = {d.id: d for d in documents}
        found = await self._engine.statuses(list(batch))
        steps = {i: decide(found[i].state if i in found else None) for i in batch}
        decided = {i: i for i in batch}
        failed = {i for i, step in steps.items() if step is Step.RESET}
        fresh: dict[str, Document] = {}
        for i, step in steps.items():
            if step is Step.ENQUEUE:
                decided[i] = fresh.setdefault(batch[i].digest, batch[i]).id
        for document, holder in await self._holders(list(fresh.values())):
            del fresh[document.digest]
            decided.update({i: holder[0] for i, by in decided.items() if by == document.id})
            if decide(holder[1]) is Step.RESET:
                failed.add(holder[0])
        gone = await self._engine.reset(sorted(failed)) if failed else set()
        if fresh:
            await self._engine.enqueue(list(fresh.values()))
        return {i: by for i, by in decided.items() if by not in gone}

    async def _holders(self, documents: Sequence[Document]) -> list[tuple[Document, tuple[str, str]]]:
        """Return the documents whose text another one already has, with (id, state) of that."""
        found = await asyncio.gather(*(self._engine.holder(d.digest, besides=d.id) for d in documents))
        return [(d, holder) for d, holder in zip(documents, found, strict=True) if holder is not None]
