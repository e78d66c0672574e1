"""A submitted body: checked by hand, for a hundred thousand chunks must cost little. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from orchestrator.api.models import ID_LENGTH
from orchestrator.api.problems import ERRORS_SHOWN, invalid
from orchestrator.api.wishes import WISH_KEYS, Wishes, check, wishes
from orchestrator.ledger.jobs import NewChunk, NewChunks
from orchestrator.metadata import RULE, is_metadata

BODY_KEYS = frozenset({"chunks", "source_type", "workspace", "metadata"}) | WISH_KEYS
CHUNK_KEYS = frozenset({"text", "source_uri", "chunk_id", "metadata"})
URI_LENGTH = 2048
UTF8_MOST = 4  # bytes a character may take
NO_NUL = "must not hold the character NUL"


@dataclass(frozen=True, slots=True)
class Submission:
    """What was asked for, in order and sound: the chunks, and the rest of the body."""

    chunks: NewChunks
    frame: dict[str, Any]

    @property
    def source_type(self) -> str:
        """What kind of source the text is from."""
        return str(self.frame.get("source_type", ""))

    @property
    def workspace(self) -> str | None:
        """The workspace that was asked for."""
        return self.frame.get("workspace")

    @property
    def metadata(self) -> dict[str, Any]:
        """The job's own."""
        return self.frame.get("metadata") or {}

    @property
    def wishes(self) -> Wishes:
        """How it wants to be treated."""
        return wishes(self.frame)

    def digest(self, workspace: str) -> str:
        """Return the hash by which a repeated request is recognised: of what it says, not its spelling."""
        found = sha256(_canonical({**self.frame, "workspace": workspace}))
        for chunk in self.chunks:
            found.update(_canonical((chunk.chunk_id, chunk.content, chunk.source_uri, chunk.metadata)))
        return found.hexdigest()


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def parse(body: bytes, *, max_chunks: int, max_chunk_bytes: int) -> Submission:
    """Return the submission in a body. Raises a 422 problem that says where it is wrong."""
    try:
        frame = orjson.loads(body)
    except orjson.JSONDecodeError as error:  # lone surrogates too: they are no text
        raise invalid(("body", f"is not JSON in UTF-8: {error}")) from None
    errors = [*check_frame(frame), *_check_number(frame, max_chunks)]
    if errors:
        raise invalid(*errors)
    chunks = list(sound(frame.pop("chunks"), max_chunk_bytes, errors.append))
    if errors:
        raise invalid(*errors)
    return Submission(chunks, frame)


def check_frame(frame: Any) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a body, its chunks aside."""
    if not isinstance(frame, dict):
        yield "body", "must be an object"
        return
    for key in frame.keys() - BODY_KEYS:
        yield _shown(key), "is not a field of a submission; known: " + ", ".join(sorted(BODY_KEYS))
    source_type = frame.get("source_type", "")
    if not isinstance(source_type, str) or len(source_type) > ID_LENGTH:
        yield "source_type", f"must be a string of at most {ID_LENGTH} characters"
    if not isinstance(frame.get("workspace"), str | None):
        yield "workspace", "must be a string"
    if not _fits(frame.get("metadata")):
        yield "metadata", RULE
    yield from check(frame)
    for key in sorted(frame.keys() & BODY_KEYS - {"chunks"}):
        if where := _nul(frame[key], key):
            yield where, NO_NUL


def _check_number(frame: Any, most: int) -> Iterator[tuple[str, str]]:
    chunks = frame.get("chunks") if isinstance(frame, dict) else [None]
    if not isinstance(chunks, list) or not chunks:
        yield "chunks", "must be a list of at least one chunk"
    elif len(chunks) > most:
        yield "chunks", f"may hold at most {most} chunks, got {len(chunks)}; split the job"


def sound(given: Iterable[Any], max_bytes: int, report: Callable[[tuple[str, str]], None]) -> Iterator[NewChunk]:
    """Yield the chunks that are sound, and report what is wrong with the others until that is enough."""
    seen: set[str] = set()
    left = ERRORS_SHOWN
    for index, chunk in enumerate(given):
        problem = _problem(chunk, max_bytes)
        chunk_id = "" if problem else chunk.get("chunk_id") or f"chunk-{index + 1:05d}"
        if problem is None and chunk_id in seen:
            problem = ".chunk_id", f"{_shown(chunk_id)} is another chunk's too"
        if problem is not None:
            report((f"chunks[{index}]{problem[0]}", problem[1]))
            left -= 1
            if not left:
                return
            continue
        seen.add(chunk_id)
        yield NewChunk(
            chunk_id=chunk_id,
            content=chunk["text"],
            source_uri=chunk.get("source_uri") or "",
            metadata=chunk.get("metadata"),
        )


def _problem(chunk: Any, max_bytes: int) -> tuple[str, str] | None:
    if not isinstance(chunk, dict):
        return "", "must be an object"
    if not chunk.keys() <= CHUNK_KEYS:
        return "", f"{_shown(min(chunk.keys() - CHUNK_KEYS))} is not a field of a chunk"
    text = chunk.get("text")
    if not isinstance(text, str):
        return ".text", "must be a string"
    if len(text) * UTF8_MOST > max_bytes and len(text.encode()) > max_bytes:
        return ".text", f"may have at most {max_bytes} bytes in UTF-8; split it"
    return _optional_problem(chunk) or _nul_problem(chunk)


def _nul_problem(chunk: dict[str, Any]) -> tuple[str, str] | None:
    if "\x00" not in chunk["text"] and "\x00" not in (chunk.get("source_uri") or "") and not chunk.get("metadata"):
        return None
    where = _nul(chunk, "chunk")
    return (where.removeprefix("chunk"), NO_NUL) if where else None


def _optional_problem(chunk: dict[str, Any]) -> tuple[str, str] | None:
    chunk_id = chunk.get("chunk_id")
    if chunk_id is not None and not _is_id(chunk_id):
        return ".chunk_id", f"must be a string of 1 to {ID_LENGTH} printable characters"
    uri = chunk.get("source_uri")
    if uri is not None and not (isinstance(uri, str) and len(uri) <= URI_LENGTH):
        return ".source_uri", f"must be a string of at most {URI_LENGTH} characters"
    if not _fits(chunk.get("metadata")):
        return ".metadata", RULE
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= ID_LENGTH and value.isprintable() and value == value.strip()


def _fits(value: Any) -> bool:
    return value is None or is_metadata(value)


def _shown(name: str) -> str:
    return ascii(name[:ID_LENGTH])


def _nul(value: Any, where: str = "") -> str | None:
    """Return where a NUL is: PostgreSQL holds none, in text or in jsonb."""
    if isinstance(value, str):
        return (where or "body") if "\x00" in value else None
    if isinstance(value, dict):
        parts = [(key, f"{where}.{_shown(key)[1:-1]}".lstrip(".")) for key in value]
        if any("\x00" in key for key in value):
            return where or "body"
        return next((found for key, path in parts if (found := _nul(value[key], path))), None)
    if isinstance(value, list):
        return next((found for i, item in enumerate(value) if (found := _nul(item, f"{where}[{i}]"))), None)
    return None
