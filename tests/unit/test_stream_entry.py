"""Entries of the stream: ours, a producer's, and whatever else somebody writes there."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sources import stream_entry
from orchestrator.sources.stream_entry import LARGEST_BYTES, OURS, parse, parse_flat, reference

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
        ({b"chunks_total": b"-3"}, "chunks_total"),
        ({b"chunks_total": b"10000001"}, "chunks_total"),
        ({b"chunks_total": b"00000000012"}, "chunks_total"),
        ({b"chunks_total": b"9" * 5000}, "chunks_total"),
        ({b"chunks_total": "\u00b2".encode()}, "chunks_total"),
        ({b"job_id": b"\xff"}, "not UTF-8"),
        ({b"workspace": b""}, "workspace"),
        ({b"workspace": b"w" * 65}, "workspace"),
        ({b"workspace": b"w\x1b[2J"}, "control characters"),
        ({b"source_uri": b"\xff"}, "source_uri"),
        ({b"metadata": b"\xff"}, "not JSON"),
        ({b"metadata": b'{"a": NaN}'}, "not JSON"),
        ({b"metadata": b'{"a": "\\u0000"}'}, "NUL"),
        ({b"metadata": b'{"a":' * 400 + b"1" + b"}" * 400}, "too deep"),
        ({b"content": b"x" * LARGEST_BYTES}, "at most 1048576"),
        ({b"padding": b"x" * LARGEST_BYTES}, "at most 1048576"),
    ],
)
def test_x36_a_malformed_entry_says_what_is_wrong(change: dict[bytes, bytes], says: str) -> None:
    """The seed raised before its try, and the entry was never acked."""
    found = parse("1-0", "h-x-0", {**GOOD, **change})
    assert found.problem is not None and says in found.problem


def test_an_entry_as_large_as_is_allowed_is_taken() -> None:
    """All its fields count."""
    text = b"x" * (LARGEST_BYTES - sum(map(len, GOOD.values())) + len(GOOD[b"content"]))
    assert parse("1-0", "h-x-0", {**GOOD, b"content": text}).problem is None


@pytest.mark.parametrize("name", [b"job_id", b"chunk_id"])
def test_x36_a_missing_id_is_named_and_the_other_is_kept(name: bytes) -> None:
    """What could be read goes into the dead letter."""
    found = parse("1-0", "h-x-0", {k: v for k, v in GOOD.items() if k != name})
    assert found.problem == f"field {name.decode()} is missing"


def test_an_entry_of_neither_kind_is_malformed() -> None:
    """No content and no version, or a version of the future."""
    assert "missing" in str(parse("1-0", "c", {b"job_id": b"j", b"chunk_id": b"c"}).problem)
    assert "unknown" in str(parse("1-0", "c", {b"job_id": b"j", b"chunk_id": b"c", b"v": b"9"}).problem)


NAMES = st.sampled_from(
    [b"job_id", b"chunk_id", b"content", b"metadata", b"workspace", b"chunks_total", b"source_uri", b"v"]
)
VALUES = st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.integers().map(lambda n: str(n).encode())


@given(st.dictionaries(NAMES | st.binary(max_size=5), VALUES))
def test_nothing_a_stranger_writes_raises(fields: dict[bytes, bytes]) -> None:
    """It is a delivery with its receipt, sound or with a reason."""
    found = parse("1-0", "h-x-0", fields)
    assert (found.receipt, found.consumer) == ("1-0", "h-x-0") and (found.problem is None or found.problem)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.text(max_size=200),
    st.text(max_size=50),
    st.dictionaries(st.text(), JSON, max_size=3),
    st.integers(-3, 2 * 10**7),
)
def test_a_sound_delivery_can_be_stored(content: str, name: str, metadata: dict[str, object], total: int) -> None:
    """PostgreSQL takes no NUL, and names are bounded and printable: what would be refused later is refused here."""
    raw = {"job_id": name, "chunk_id": name, "content": content, "chunks_total": str(total)}
    fields = {key.encode(): value.encode() for key, value in raw.items()} | {b"metadata": json.dumps(metadata).encode()}
    found = parse("1-0", "h-x-0", fields)
    if found.problem is None:
        assert found.content == content and "\x00" not in content
        assert 1 <= len(found.job_id) <= 128 and found.job_id.isprintable()
        assert found.chunks_total == total and 1 <= total <= 10_000_000
        assert b"\\u0000" not in orjson.dumps(dict(found.metadata))


NAMES = st.sampled_from([b"job", b"w" * 64, b"w" * 65, b"x" * 129, b"", b"a\nb", b"\xff", "\u00e9".encode()])


@given(st.lists(NAMES, min_size=4, max_size=4), st.permutations(OURS), st.sampled_from([b"1", b"2"]))
def test_an_entry_as_redis_sends_it_is_the_same(values: list[bytes], names: list[bytes], version: bytes) -> None:
    """Ours in the order of dispatch takes a short cut, also when something is wrong with it."""
    for order in (names, OURS):
        pairs = [(name, version if name == b"v" else value) for name, value in zip(order, values, strict=True)]
        flat = [part for pair in pairs for part in pair]
        assert parse_flat("1-0", "c", flat) == parse("1-0", "c", dict(pairs))


def test_entries_of_dispatch_take_the_short_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each of them is made a dictionary of first."""
    monkeypatch.setattr(stream_entry, "parse", None)
    found = parse_flat("1-0", "c", [b"job_id", b"j", b"workspace", b"w", b"v", b"1", b"chunk_id", b"k"])
    assert (found.receipt, found.consumer, found.key, found.workspace) == ("1-0", "c", ("j", "k"), "w")
