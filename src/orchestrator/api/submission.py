"""A submitted body: checked by hand, for a hundred thousand chunks must cost little. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from orchestrator.api.models import ID_LENGTH
from orchestrator.api.problems import ERRORS_SHOWN, invalid
from orchestrator.api.wishes import WISH_KEYS, Wishes, check, wishes
from orchestrator.ledger.jobs import NewChunk
from orchestrator.metadata import RULE, is_metadata

BODY_KEYS = frozenset({"chunks", "source_type", "workspace", "metadata"}) | WISH_KEYS
CHUNK_KEYS = frozenset({"text", "source_uri", "chunk_id", "metadata"})
URI_LENGTH = 2048
UTF8_MOST = 4  # bytes a character may take
Errors = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Submission:
    """What was asked for, in order and sound."""

    chunks: list[NewChunk]
    source_type: str
    workspace: str | None
    metadata: dict[str, Any]
    wishes: Wishes
    document: dict[str, Any]

    def digest(self, workspace: str) -> str:
        """Return the hash by which a repeated request is recognised: of the canonical body, not its spelling."""
        canonical = orjson.dumps({**self.document, "workspace": workspace}, option=orjson.OPT_SORT_KEYS)
        return sha256(canonical).hexdigest()


def parse(body: bytes, *, max_chunks: int, max_chunk_bytes: int) -> Submission:
    """Return the submission in a body. Raises a 422 problem that says where it is wrong."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:  # lone surrogates too: they are no text
        raise invalid(("body", f"is not JSON in UTF-8: {error}")) from None
    errors = list(_check_frame(document, max_chunks))
    if errors:
        raise invalid(*errors)
    chunks = _chunks(document["chunks"], max_chunk_bytes, errors)
    if errors:
        raise invalid(*errors)
    if b"\\u0000" in body and (where := _nul(document)):
        raise invalid((where, "must not hold the character NUL"))
    return Submission(
        chunks=chunks,
        source_type=document.get("source_type", ""),
        workspace=document.get("workspace"),
        metadata=document.get("metadata") or {},
        wishes=wishes(document),
        document=document,
    )


def _check_frame(document: Any, max_chunks: int) -> Iterator[tuple[str, str]]:
    if not isinstance(document, dict):
        yield "body", "must be an object"
        return
    for key in document.keys() - BODY_KEYS:
        yield _shown(key), "is not a field of a submission; known: " + ", ".join(sorted(BODY_KEYS))
    chunks = document.get("chunks")
    if not isinstance(chunks, list) or not chunks:
        yield "chunks", "must be a list of at least one chunk"
    elif len(chunks) > max_chunks:
        yield "chunks", f"may hold at most {max_chunks} chunks, got {len(chunks)}; split the job"
    source_type = document.get("source_type", "")
    if not isinstance(source_type, str) or len(source_type) > ID_LENGTH:
        yield "source_type", f"must be a string of at most {ID_LENGTH} characters"
    if not isinstance(document.get("workspace"), str | None):
        yield "workspace", "must be a string"
    if not _fits(document.get("metadata")):
        yield "metadata", RULE
    yield from check(document)


def _chunks(given: list[Any], max_bytes: int, errors: Errors) -> list[NewChunk]:
    chunks: list[NewChunk] = []
    seen: set[str] = set()
    for index, chunk in enumerate(given):
        problem = _problem(chunk, max_bytes)
        if problem is not None:
            errors.append((f"chunks[{index}]{problem[0]}", problem[1]))
        else:
            chunk_id = chunk.get("chunk_id") or f"chunk-{index + 1:05d}"
            if chunk_id in seen:
                errors.append((f"chunks[{index}].chunk_id", f"{_shown(chunk_id)} is another chunk's too"))
            seen.add(chunk_id)
            chunks.append(
                NewChunk(
                    chunk_id=chunk_id,
                    content=chunk["text"],
                    source_uri=chunk.get("source_uri") or "",
                    metadata=chunk.get("metadata"),
                )
            )
        if len(errors) >= ERRORS_SHOWN:
            break
    return chunks


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
    return _optional_problem(chunk)


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
