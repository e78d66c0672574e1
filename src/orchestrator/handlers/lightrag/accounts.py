"""Who is charged for a model call, and who is told that it waits.

LightRAG works on many documents at once, in a pipeline all chunks of a workspace share. It runs a document's calls in
the context of that document's own task, so a context variable says whose a call is. Only vectors are not computed for
one document alone: they are buffered, and flushed for all that are under way; what that costs is shared among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from orchestrator.deliveries import Usage
from orchestrator.handlers.base import Context

IN_PIPELINE = "in LightRAG's pipeline"
UNCLAIMED = 10_000  # documents whose chunk nobody holds: what they used is kept for the chunk's next delivery
MARK_LENGTH = 80

_CURRENT: ContextVar[tuple[str, str] | None] = ContextVar("workspace and document", default=None)


@dataclass(slots=True, eq=False)
class _Chunk:
    """A run of the handler."""

    workspace: str
    context: Context
    text: str


@dataclass(slots=True, eq=False)
class _Workspace:
    """What goes on in a pipeline."""

    under_way: list[str] = field(default_factory=list)  # documents
    waiting: int = 0  # calls


class Accounts:
    """One for a process."""

    def __init__(self) -> None:
        self._chunks: dict[str, list[_Chunk]] = {}  # by document
        self._workspaces: dict[str, _Workspace] = {}
        self._unclaimed: dict[str, Usage] = {}

    @contextmanager
    def open(self, workspace: str, doc_id: str, context: Context, text: str) -> Iterator[None]:
        """Charge the document to this run; also what it used while nobody held its chunk."""
        chunk = _Chunk(workspace, context, text)
        self._chunks.setdefault(doc_id, []).append(chunk)
        if (owed := self._unclaimed.pop(doc_id, None)) is not None:
            _pay(context.usage, owed)
        try:
            yield
        finally:
            self._chunks[doc_id].remove(chunk)
            if not self._chunks[doc_id]:
                del self._chunks[doc_id]

    @contextmanager
    def processing(self, workspace: str, doc_id: str) -> Iterator[None]:
        """LightRAG works on the document: its calls are those made in here."""
        place = self._workspaces.setdefault(workspace, _Workspace())
        place.under_way.append(doc_id)
        token = _CURRENT.set((workspace, doc_id))
        try:
            yield
        finally:
            _CURRENT.reset(token)
            place.under_way.remove(doc_id)
            if not place.under_way and not place.waiting:
                self._workspaces.pop(workspace, None)

    def charge(self, usage: Usage, *, shared: bool = False) -> None:
        """Charge a call to its document, or its tokens to all that are under way; one for no document to nobody."""
        current = _CURRENT.get()
        if current is None:
            return
        workspace, doc_id = current
        place = self._workspaces.get(workspace)
        payers = list(place.under_way) if shared and place and place.under_way else [doc_id]
        first = payers.index(doc_id) if doc_id in payers else 0
        each, cost = usage.prompt_tokens // len(payers), usage.cost / len(payers)
        for payer in payers[:first] + payers[first + 1 :]:
            self._charge(payer, Usage(prompt_tokens=each, cost=cost))
        others = len(payers) - 1  # the document that made the call pays what cannot be divided
        rest = Usage(
            usage.calls, usage.prompt_tokens - each * others, usage.completion_tokens, usage.cost - cost * others
        )
        self._charge(payers[first], rest)

    def is_about_its_text(self, prompt: str) -> bool:
        """Return whether a prompt holds the text of the document that it is for: an extraction, not a summary."""
        current = _CURRENT.get()
        chunks = self._chunks.get(current[1], []) if current is not None else []
        for text in {chunk.text for chunk in chunks}:
            starts = (0, max(0, len(text) // 2 - MARK_LENGTH // 2), max(0, len(text) - MARK_LENGTH))
            if any(text[start : start + MARK_LENGTH] in prompt for start in starts):
                return True
        return False

    @contextmanager
    def telling(self) -> Iterator[Callable[[str], None]]:
        """Give what tells all chunks of the call's workspace why it waits; afterwards they are in the pipeline again.

        All of them: the pipeline is one, and those that are not begun yet wait for those that are.
        """
        current = _CURRENT.get()
        place = self._workspaces.get(current[0]) if current is not None else None
        if current is None or place is None:
            yield lambda _: None
            return
        workspace, waits = current[0], False

        def say(words: str) -> None:
            nonlocal waits
            if not waits:
                waits = True
                place.waiting += 1
            self._say(workspace, words)

        try:
            yield say
        finally:
            if waits:
                place.waiting -= 1
                if not place.waiting:
                    self._say(workspace, IN_PIPELINE)

    def _say(self, workspace: str, words: str) -> None:
        for chunks in self._chunks.values():
            for chunk in chunks:
                if chunk.workspace == workspace:
                    chunk.context.step(words)

    def _charge(self, doc_id: str, usage: Usage) -> None:
        if chunks := self._chunks.get(doc_id):
            _pay(chunks[-1].context.usage, usage)
            return
        _pay(self._unclaimed.setdefault(doc_id, Usage()), usage)
        while len(self._unclaimed) > UNCLAIMED:
            del self._unclaimed[next(iter(self._unclaimed))]


def _pay(account: Usage, usage: Usage) -> None:
    account.add(
        calls=usage.calls,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost=usage.cost,
    )
