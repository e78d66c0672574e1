"""The API's pure parts: submissions, cursors, keys, frames, stale views."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.auth import EVERY_TENANT, Caller, KeyRing
from orchestrator.api.cursors import chunk_cursor, encode, job_cursor
from orchestrator.api.events import frame
from orchestrator.api.jobs import stale_view, view_of
from orchestrator.api.problems import ProblemError
from orchestrator.api.submission import Submission, parse
from orchestrator.errors import CredentialError
from orchestrator.events.log import Event
from orchestrator.jobs import FailurePolicy, JobStatus, Priority
from orchestrator.ledger.jobs import Job
from orchestrator.tracker.redis_view import fields_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
HASH = sha256(b"key").hexdigest()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def read(document: object) -> Submission:
    """Parse a document with generous limits."""
    return parse(orjson.dumps(document), max_chunks=100, max_chunk_bytes=1000)


@given(JSON)
def test_any_json_is_a_submission_or_a_422(document: object) -> None:
    """Never another error, whatever comes."""
    for attempt in (
        document,
        {"chunks": document},
        {"chunks": [document]},
        {"chunks": [{"text": "x", "metadata": document}]},
    ):
        try:
            read(attempt)
        except ProblemError as problem:
            assert problem.status == 422 and problem.more["errors"]


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    """Values are looked at, not the body's spelling."""
    [chunk] = read({"chunks": [{"text": "C:\\u0000"}]}).chunks
    assert chunk.content == "C:\\u0000"
    with pytest.raises(ProblemError):
        read({"chunks": [{"text": "x"}], "metadata": {"\x00": 1}})


def test_metadata_nested_too_deep_is_refused() -> None:
    """The encoder of jsonb would fail on it, and so would a walk through it."""
    deep: dict[str, object] = {}
    for _ in range(250):
        deep = {"\x00": deep}
    for document in ({"chunks": [{"text": "x", "metadata": deep}]}, {"chunks": [{"text": "x"}], "metadata": deep}):
        with pytest.raises(ProblemError, match="not valid") as caught:
            read(document)
        assert "deep" in caught.value.more["errors"][0]["message"]


def test_the_hash_of_a_request_is_of_its_meaning() -> None:
    """Order of keys and spelling do not count; text and workspace do."""
    one = read({"chunks": [{"text": "a", "source_uri": "b"}], "source_type": "t"})
    two = read({"source_type": "t", "chunks": [{"source_uri": "b", "text": "a"}]})
    assert one.digest("w") == two.digest("w") != one.digest("v")
    assert one.digest("w") != read({"chunks": [{"text": "a"}], "source_type": "t"}).digest("w")


def test_a_generated_id_that_meets_a_given_one_is_a_conflict() -> None:
    """Two chunks of one id would be one chunk."""
    with pytest.raises(ProblemError) as caught:
        read({"chunks": [{"text": "a", "chunk_id": "chunk-00002"}, {"text": "b"}]})
    assert caught.value.more["errors"][0]["where"] == "chunks[1].chunk_id"


def test_only_the_first_errors_are_shown() -> None:
    """A hundred wrong chunks are not a hundred lines."""
    with pytest.raises(ProblemError) as caught:
        read({"chunks": [{}] * 100})
    assert len(caught.value.more["errors"]) == 20


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    st.integers(0, 2**31 - 1),
)
def test_a_cursor_comes_back_as_it_was(at: datetime, name: str, seq: int) -> None:
    """To the microsecond."""
    assert job_cursor(encode(at, name)) == (at, name)
    assert chunk_cursor(encode(seq, name)) == (seq, name)


@given(st.text(max_size=40))
def test_any_text_as_cursor_is_ours_or_a_422(text: str) -> None:
    """Never another error."""
    for decode in (job_cursor, chunk_cursor):
        try:
            decode(text)
        except ProblemError as problem:
            assert problem.status == 422


def test_a_key_is_found_by_its_hash() -> None:
    """Comments and empty lines are skipped."""
    ring = KeyRing.parse(f"# who\n\nops * {HASH}\n")
    assert ring.find("key") == Caller("ops", EVERY_TENANT)
    assert ring.find("Key") is None and ring.find("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no key"),
        ("ops *", "line 1"),
        (f"ops * {HASH[:-1]}", "line 1: the hash"),
        (f"# c\nOPS * {HASH}", "line 2: name or tenant"),
        (f"a acme {HASH}\nb acme-eu {HASH}", "'acme-eu' lies in the workspaces of tenant 'acme'"),
    ],
)
def test_a_wrong_key_file_says_the_line_and_no_content(text: str, message: str) -> None:
    """And two tenants never share a workspace by their names."""
    with pytest.raises(CredentialError, match=message) as caught:
        KeyRing.parse(text)
    assert HASH[:-1] not in str(caught.value)


def test_nothing_in_an_event_forges_another_field() -> None:
    """Line ends inside values are escaped; one event is four lines."""
    raw = frame(Event(7, "j\n\nevent: x", "t", "ingestion.failed", {"error": "a\r\ndata: b\u2028c"}, NOW))
    lines = raw.decode().split("\n")
    assert lines[0] == "id: 7" and lines[1] == "event: ingestion.failed" and lines[3:] == ["", ""]
    assert orjson.loads(lines[2].removeprefix("data: "))["error"] == "a\r\ndata: b\u2028c"
    assert b"\r" not in raw


def test_the_fast_view_tells_what_the_ledger_told_it() -> None:
    """Through Redis and back: the same view, but marked stale."""
    job = Job(
        job_id="j", tenant="t", worker_type="lightrag", queue="q", workspace="w", job_type="ingestion", source_type="",
        status=JobStatus.PROCESSING, chunks_total=3, declared=True, queued=1, running=1, processed=1, failed=0,
        cancelled=0, entities=4, relations=5, version=9, metadata={"a": [1]}, error_message=None, error_chunk_id=None,
        request_hash=None, priority=Priority.HIGH, not_before=NOW, failure_policy=FailurePolicy.THRESHOLD,
        max_failed=2, budget=Decimal("1.5"), cost=Decimal("0.25"), model_calls=3, prompt_tokens=20,
        completion_tokens=10, created_at=NOW, started_at=NOW, completed_at=None, changed_at=NOW,
    )  # fmt: skip
    fresh, stale = view_of(job), stale_view("j", fields_of(job))
    assert stale.stale and not fresh.stale
    assert stale.model_dump(exclude={"stale", "duration_seconds"}) == fresh.model_dump(
        exclude={"stale", "duration_seconds"}
    )
