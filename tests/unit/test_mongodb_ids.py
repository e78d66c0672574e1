"""Ids of MongoDB documents as receipts."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64, ObjectId

from orchestrator.sources.mongodb_ids import id_of, receipt_of

DIGITS = "64b7f0c2a1b2c3d4e5f60718"
IDS = [5, "5", "int:5", "str:5", -3, ObjectId(DIGITS), DIGITS, f"str:{DIGITS}", "plain", "urn:isbn:1", "", Int64(2**40)]


def test_5_and_its_text_are_two_documents() -> None:
    """`_id` 5 and `_id` "5" had one receipt and so one job: the second was acked as processed without having run. So
    were an ObjectId and a text of its digits. What could be taken for another now says of what kind it is.
    """
    assert len({receipt_of(each) for each in IDS}) == len(IDS)


@pytest.mark.parametrize("document_id", IDS)
def test_a_receipt_leads_back_to_its_document(document_id: Any) -> None:
    """For a redrive."""
    back = id_of(receipt_of(document_id))
    assert back == document_id and isinstance(document_id, type(back))


def test_an_ordinary_id_is_its_own_receipt() -> None:
    """Operators see it in job ids and dead letters."""
    assert receipt_of(ObjectId(DIGITS)) == DIGITS
    assert receipt_of("plain") == "plain"


@pytest.mark.parametrize("receipt", ["int:five", "UUID:5", "UUID:6c8d23d0-26ba-4449-9b8d-2636ee77743d", "nobody"])
def test_a_receipt_that_is_none_of_ours_finds_nothing_and_breaks_nothing(receipt: str) -> None:
    """Whoever redrives may mistype it."""
    assert id_of(receipt) == receipt
