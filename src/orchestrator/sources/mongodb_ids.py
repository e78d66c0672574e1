"""A document's id as a receipt, and back: no two ids of a collection have one receipt. Pure."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from orchestrator.sources import foreign

TEXT, NUMBERS = "str", ("int", "Int64")


def receipt_of(document_id: Any) -> str:
    """Return the digits of an ObjectId, a text as it is; all else, and a text that reads like it, after its kind.

    A collection may hold 5 and "5", and an ObjectId beside a text of its digits.
    """
    text = str(document_id)
    if not isinstance(document_id, ObjectId) and (not isinstance(document_id, str) or _is_doubtful(text)):
        text = f"{type(document_id).__name__}:{text}"
    return foreign.receipt_of(text)


def id_of(receipt: str) -> Any:
    """Return the id that has this receipt. What is neither ObjectId, text nor whole number has no way back."""
    kind, colon, text = receipt.partition(":")
    if not colon:
        return ObjectId(receipt) if ObjectId.is_valid(receipt) else receipt
    if kind in NUMBERS and text.removeprefix("-").isdecimal():
        return int(text)
    return text if kind == TEXT else receipt


def _is_doubtful(text: str) -> bool:
    return ":" in text or ObjectId.is_valid(text)
