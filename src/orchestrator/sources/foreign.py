"""A message of a queue that knows no chunks becomes a job with one chunk. Pure; raises on nothing a stranger wrote."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.deliveries import Delivery
from orchestrator.metadata import RULE, is_metadata

CHUNK = "0"
"""The name of the one chunk."""
LONGEST_RECEIPT = 500
LONGEST_ID = 128  # that the ledger holds
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
WORKSPACE = re.compile(r"[a-z0-9_-]{1,64}")


class WrongMessageError(Exception):
    """Why a message is malformed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a message must keep to; `source_options` of the type has the same keys."""

    required: tuple[str, ...] = ()  # fields that the payload must have
    largest_bytes: int = 1 << 20  # of the payload as JSON


def job_id(worker_type: str, queue: str, receipt: str, generation: object) -> str:
    """Return the id of the job a message becomes: the same for every delivery of it, another one when it is revived.

    A queue's name is known on its own server only, so the type is part of it: two types may have queues of one name.
    A message that had ended and that its own tools put back (a reset row, a retried job) is new work: its source
    tells the lives of one message apart by `generation`. What does not fit into an id is replaced by its hash.
    """
    parts = (part if PLAIN.fullmatch(part) else _hash(part) for part in (queue, receipt, str(generation)))
    whole = ":".join((worker_type, *parts))
    return whole if len(whole) <= LONGEST_ID else f"{worker_type}:{_hash(whole)}"


def receipt_of(message_id: object) -> str:
    """Return the receipt of a message of this id, which its producer may have chosen: one the ledger can hold."""
    text = str(message_id)
    return text if text.isprintable() and len(text) <= LONGEST_RECEIPT else _hash(text)


def fill(delivery: Delivery, raw: str | bytes | Mapping[str, Any] | None, rules: Rules) -> Delivery:
    """Fill in what the payload says, JSON text or an object; a wrong one sets `problem`. Returns the same delivery.

    `content` becomes the payload's own `content` when it has one, else all of it as JSON; `metadata`, `workspace` and
    `source_uri` are taken from fields of these names.
    """
    delivery.chunk_id = CHUNK
    delivery.chunks_total = 1
    try:
        payload, text = _payload(raw, rules.largest_bytes)
        if missing := [name for name in rules.required if name not in payload]:
            raise WrongMessageError(f"fields missing: {', '.join(missing)}")
        delivery.metadata = _metadata(payload)
        delivery.workspace = _text(payload, "workspace")
        if delivery.workspace and not WORKSPACE.fullmatch(delivery.workspace):
            raise WrongMessageError("field workspace must have 1 to 64 of a-z, 0-9, _ and -")
        delivery.source_uri = _text(payload, "source_uri")
        delivery.content = _text(payload, "content") if "content" in payload else text
    except WrongMessageError as wrong:
        delivery.problem = str(wrong)
    return delivery


def _payload(raw: str | bytes | Mapping[str, Any] | None, largest: int) -> tuple[Mapping[str, Any], str]:
    """Return the payload and its JSON text."""
    try:
        text = raw if isinstance(raw, str | bytes) else orjson.dumps(raw)
    except (TypeError, ValueError) as error:  # what a driver can return and JSON cannot hold
        raise WrongMessageError(f"the payload cannot be written as JSON: {error}") from None
    encoded = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(encoded) > largest:
        raise WrongMessageError(f"the payload has {len(encoded)} bytes; at most {largest} are taken")
    try:
        payload = orjson.loads(encoded)
    except orjson.JSONDecodeError:
        raise WrongMessageError("the payload is not JSON") from None
    if not isinstance(payload, dict):
        raise WrongMessageError("the payload is not a JSON object")
    if not is_metadata(payload):
        raise WrongMessageError(f"the payload {RULE}")
    if b"\\u0000" in encoded:
        raise WrongMessageError("the payload holds a NUL character")
    return payload, encoded.decode()


def _metadata(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    value = payload.get("metadata")
    if value is not None and not isinstance(value, dict):
        raise WrongMessageError("field metadata is not a JSON object")
    return value or {}


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    if value is not None and not isinstance(value, str):
        raise WrongMessageError(f"field {name} is not a text")
    return value or ""


def result_of(delivery: Delivery) -> dict[str, Any]:
    """Return what the handler found, as JSON can hold it, for queues that keep results."""
    found = delivery.result
    detail: dict[str, Any] = orjson.loads(orjson.dumps(dict(found.detail or {})))
    return {"entities": found.entities, "relations": found.relations, "detail": detail}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def spread(deliveries: Iterable[Delivery], rooms: Mapping[str, int]) -> list[Delivery]:
    """Give each delivery the consumer with the most room left, for queues that know no consumers."""
    left = dict(rooms)
    placed = []
    for delivery in deliveries:
        delivery.consumer = max(left, key=lambda name: left[name])
        left[delivery.consumer] -= 1
        placed.append(delivery)
    return placed
