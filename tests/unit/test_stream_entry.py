"""Entries of the stream: ours, a producer's, and whatever else somebody writes there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sources.stream_entry import parse, reference

GOOD = {b"job_id": b"j", b"chunk_id": b"c", b"content": b"text"}


def test_our_own_entry_is_a_reference() -> None:
    """The text stays in the ledger."""
    fields = {b"job_id": b"j", b"chunk_id": b"c", b"workspace": b"w", b"v": b"1"}
    assert {str(k).encode() for k in reference("j", "c", "w")} == set(fields)
    found = parse("1-0", "h-x-0", fields)
    assert (found.job_id, found.chunk_id, found.workspace, found.content, found.problem) == ("j", "c", "w", None, None)


def test_a_producers_entry_carries_its_text() -> None:
    """Design 2: job_id, chunk_id, content, metadata; a total and a source when it knows them."""
    more = {b"metadata": b'{"page": 1}', b"chunks_total": b"3", b"source_uri": b"file:a"}
    found = parse("1-0", "h-x-0", {**GOOD, **more})
    assert (found.content, found.metadata, found.chunks_total, found.source_uri) == ("text", {"page": 1}, 3, "file:a")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({b"job_id": b""}, "job_id"),
        ({b"chunk_id": b"x" * 129}, "chunk_id"),
        ({b"job_id": b"a\nb"}, "control characters"),
        ({b"content": b"\xff"}, "not UTF-8"),
        ({b"content": b"a\x00b"}, "NUL"),
        ({b"metadata": b"{"}, "not JSON"),
        ({b"metadata": b"[]"}, "not a JSON object"),
        ({b"chunks_total": b"0"}, "chunks_total"),
        ({b"chunks_total": b"many"}, "chunks_total"),
    ],
)
def test_x36_a_malformed_entry_says_what_is_wrong(change: dict[bytes, bytes], says: str) -> None:
    """The seed raised before its try, and the entry was never acked."""
    found = parse("1-0", "h-x-0", {**GOOD, **change})
    assert found.problem is not None and says in found.problem


def test_an_entry_of_neither_kind_is_malformed() -> None:
    """No content and no version, or a version of the future."""
    assert "missing" in str(parse("1-0", "c", {b"job_id": b"j", b"chunk_id": b"c"}).problem)
    assert "unknown" in str(parse("1-0", "c", {b"job_id": b"j", b"chunk_id": b"c", b"v": b"9"}).problem)


NAMES = st.sampled_from([b"job_id", b"chunk_id", b"content", b"metadata", b"workspace", b"chunks_total", b"v"])


@given(st.dictionaries(NAMES | st.binary(max_size=5), st.binary(max_size=200)))
def test_nothing_a_stranger_writes_raises(fields: dict[bytes, bytes]) -> None:
    """It is a delivery with its receipt, sound or with a reason."""
    found = parse("1-0", "h-x-0", fields)
    assert found.receipt == "1-0" and (found.problem is None or found.problem)
