"""An entry of the stream: bytes to a delivery, and back. Pure; nothing here raises on what a stranger wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import orjson

from orchestrator.deliveries import Delivery
from orchestrator.metadata import is_metadata

VERSION = b"1"
OURS = [b"job_id", b"workspace", b"v", b"chunk_id"]
"""The fields of an entry as dispatch writes it, in that order."""
ID_LENGTH = 128
WORKSPACE_LENGTH = 64
LARGEST_TOTAL = 10_000_000  # more than that is a mistake
LARGEST_BYTES = 1 << 20
"""Of a producer's entry, as of a message of another's queue. The API takes a quarter of it for a chunk: what is larger
is a mistake, and every worker that holds it has it in memory.
"""


class _WrongEntryError(Exception):
    """Why an entry is malformed."""


def reference(job_id: str, chunk_id: str, workspace: str) -> dict[str | bytes, str | bytes]:
    """Return the fields of an entry of ours: which chunk; the text is in the ledger."""
    return {"job_id": job_id, "chunk_id": chunk_id, "workspace": workspace, "v": VERSION}


def parse_flat(receipt: str, consumer: str, fields: Sequence[bytes]) -> Delivery:
    """Return the delivery in an entry as Redis sends it, names and values in turn; one of ours takes half as long."""
    if fields[::2] == OURS:
        job, workspace, version, chunk = fields[1::2]
        job_id, space = _shared_name(job, ID_LENGTH), _shared_name(workspace, WORKSPACE_LENGTH)
        if version == VERSION and job_id and space and (chunk_id := _plain_name(chunk, ID_LENGTH)):
            return Delivery(receipt, consumer, job_id, chunk_id, space)
    return parse(receipt, consumer, dict(zip(fields[::2], fields[1::2], strict=True)))


def parse(receipt: str, consumer: str, fields: Mapping[bytes, bytes]) -> Delivery:
    """Return the delivery in an entry; a malformed one carries `problem`, and as much of its ids as could be read."""
    delivery = Delivery(receipt, consumer, "", "")
    try:
        delivery.job_id = _name(fields, "job_id", ID_LENGTH)
        delivery.chunk_id = _name(fields, "chunk_id", ID_LENGTH)
        if b"content" in fields:
            _external(delivery, fields)
        elif (version := fields.get(b"v")) != VERSION:
            shown = "missing" if version is None else "unknown"
            raise _WrongEntryError(f"no content, and the version field v is {shown}: neither ours nor a producer's")
        if b"workspace" in fields:
            delivery.workspace = _name(fields, "workspace", WORKSPACE_LENGTH)
    except _WrongEntryError as wrong:
        delivery.problem = str(wrong)
    return delivery


def _external(delivery: Delivery, fields: Mapping[bytes, bytes]) -> None:
    """Fill in what an external producer put straight on the stream."""
    if (size := sum(map(len, fields.values()))) > LARGEST_BYTES:
        raise _WrongEntryError(f"the entry has {size} bytes; at most {LARGEST_BYTES} are taken")
    delivery.content = _text(fields, "content")
    if "\x00" in delivery.content:
        raise _WrongEntryError("content holds a NUL character")
    if b"source_uri" in fields:
        delivery.source_uri = _text(fields, "source_uri").replace("\x00", "")
    if b"metadata" in fields:
        delivery.metadata = _metadata(fields[b"metadata"])
    if b"chunks_total" in fields:
        delivery.chunks_total = _total(fields[b"chunks_total"])


def _text(fields: Mapping[bytes, bytes], name: str) -> str:
    raw = fields.get(name.encode())
    if raw is None:
        raise _WrongEntryError(f"field {name} is missing")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _WrongEntryError(f"field {name} is not UTF-8") from None


def _name(fields: Mapping[bytes, bytes], name: str, longest: int) -> str:
    text = _text(fields, name)
    if not 1 <= len(text) <= longest:
        raise _WrongEntryError(f"field {name} must have 1 to {longest} characters, has {len(text)}")
    if not text.isprintable():
        raise _WrongEntryError(f"field {name} holds control characters")
    return text


def _plain_name(raw: bytes, longest: int) -> str:
    """Return a name there is nothing to say against; else an empty text."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    return text if len(text) <= longest and text.isprintable() else ""


_shared_name = lru_cache(maxsize=256)(_plain_name)  # many entries in a row have the same


def _metadata(raw: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise _WrongEntryError("field metadata is not JSON") from None
    if not isinstance(value, dict):
        raise _WrongEntryError("field metadata is not a JSON object")
    if not is_metadata(value):
        raise _WrongEntryError("field metadata is nested too deep")
    if b"\\u0000" in raw:
        raise _WrongEntryError("field metadata holds a NUL character")
    return value


def _total(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > len(str(LARGEST_TOTAL)) or not 1 <= int(raw) <= LARGEST_TOTAL:
        raise _WrongEntryError(f"field chunks_total is not a number between 1 and {LARGEST_TOTAL}")
    return int(raw)
