"""What the API refuses, and how it says so: problem details, never internals (X-28)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from orchestrator.ledger import Ledger
from tests.support.api import Api, api_over, bearer, body, served

PATH = "/lightrag/ingest-async"


@pytest.fixture
async def api(ledger: Ledger, redis_url: str) -> AsyncIterator[Api]:
    """An API with small limits."""
    async with api_over(ledger, redis_url, max_body_bytes=2000, max_chunks=5, max_chunk_bytes=100) as made:
        yield made


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem, after checking that it is one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status and problem["title"] and problem["detail"]
    assert problem["correlation_id"] == answer.headers["x-request-id"]
    return problem


REFUSED = [
    ({"chunks": []}, "chunks"),
    ({}, "chunks"),
    ([], "body"),
    ({"chunks": [{"text": "x"}] * 6}, "chunks"),
    ({"chunks": [{"text": "ä" * 51}]}, "chunks[0].text"),
    ({"chunks": [{"text": "x"}, {"txt": "y"}]}, "chunks[1]"),
    ({"chunks": [{"text": None}]}, "chunks[0].text"),
    ({"chunks": ["x"]}, "chunks[0]"),
    ({"chunks": [{"text": "nul \x00"}]}, "chunks[0].text"),
    ({"chunks": [{"text": "x", "metadata": {"a": ["\x00"]}}]}, "chunks[0].metadata.a[0]"),
    ({"chunks": [{"text": "x", "metadata": []}]}, "chunks[0].metadata"),
    ({"chunks": [{"text": "x", "chunk_id": ""}]}, "chunks[0].chunk_id"),
    ({"chunks": [{"text": "x", "chunk_id": "a\nb"}]}, "chunks[0].chunk_id"),
    ({"chunks": [{"text": "x", "chunk_id": "a"}, {"text": "y", "chunk_id": "a"}]}, "chunks[1].chunk_id"),
    ({"chunks": [{"text": "x", "source_uri": 7}]}, "chunks[0].source_uri"),
    ({"chunks": [{"text": "x"}], "source_type": 1}, "source_type"),
    ({"chunks": [{"text": "x"}], "surprise": 1}, "'surprise'"),
    ({"chunks": [{"text": "x"}], "metadata": "m"}, "metadata"),
    ({"chunks": [{"text": "x"}], "workspace": 5}, "workspace"),
]


@pytest.mark.parametrize(("document", "where"), REFUSED, ids=[w for _, w in REFUSED])
async def test_a_wrong_body_is_422_and_says_where(api: Api, document: object, where: str) -> None:
    """Nothing of it is written."""
    async with api.as_("alpha") as client:
        problem = is_problem(await client.post(PATH, json=document), 422)
        assert where in [error["where"] for error in problem["errors"]]
        assert (await client.get("/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"chunks": [{"text": "\\ud800"}]}', b"NaN"])
async def test_what_is_no_json_text_is_422(api: Api, raw: bytes) -> None:
    """Lone surrogates are no text either: no UTF-8 can hold them."""
    async with api.as_("alpha") as client:
        is_problem(await client.post(PATH, content=raw), 422)


async def test_a_chunk_at_its_limit_is_accepted(api: Api) -> None:
    """The limit counts bytes of UTF-8, and the bound itself is allowed."""
    async with api.as_("alpha") as client:
        assert (await client.post(PATH, json={"chunks": [{"text": "ä" * 50}] * 5})).status_code == 202


async def test_a_large_body_is_413_declared_or_chunked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for bodies that do not say how long they are; the process goes on."""
    monkeypatch.setattr("orchestrator.api.limits.DRAIN_SECONDS", 30)  # however slow the client is

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 100

    async with served(api) as url, httpx.AsyncClient(base_url=url, headers=bearer("alpha"), timeout=30) as client:
        is_problem(await client.post(PATH, content=b" " * 2001), 413)
        is_problem(await client.post(PATH, content=pieces()), 413)
        is_problem(await client.post("/lightrag/query", content=pieces()), 413)
        assert (await client.post(PATH, json=body(1))).status_code == 202


async def test_an_unknown_path_and_method_are_problems(api: Api) -> None:
    """404 and 405 with Allow; X-25: the job's path is /jobs/{id}, once."""
    async with api.as_("alpha") as client:
        is_problem(await client.get("/nothing"), 404)
        is_problem(await client.get("/jobs/jobs/x"), 404)
        wrong = await client.put("/jobs")
        is_problem(wrong, 405)
        assert wrong.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "status=running",
        "cursor=%21",
        "cursor=W10",
        "cursor=WzEsMl0",
        "cursor=WzEsImEiXQ",
    ],
)
async def test_wrong_parameters_are_422(api: Api, query: str) -> None:
    """Cursors of nobody's too."""
    async with api.as_("alpha") as client:
        problem = is_problem(await client.get(f"/jobs?{query}"), 422)
        assert problem["errors"]


async def test_x28_a_bug_of_ours_shows_nothing_of_our_insides(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed answered detail=str(e); here the caller gets an id, and the log has the error under it."""

    async def broken(*_: object) -> None:
        raise RuntimeError("password=hunter2 at /etc/secret")

    monkeypatch.setattr(type(api.deps.ledger.jobs), "held", broken)
    async with api.as_("alpha") as client:
        answer = await client.get("/jobs/some", headers={"X-Request-ID": "trace-7"})
    problem = is_problem(answer, 500)
    assert problem["correlation_id"] == "trace-7"
    assert "hunter2" not in answer.text and "secret" not in answer.text and "RuntimeError" not in answer.text
    logged = [r for r in caplog.records if getattr(r, "correlation_id", "") == "trace-7" and r.exc_info]
    assert len(logged) == 1


async def test_a_request_id_of_the_callers_is_kept_when_harmless(api: Api) -> None:
    """What could forge a log line is replaced."""
    async with api.as_("alpha") as client:
        assert (await client.get("/health", headers={"X-Request-ID": "a-1"})).headers["x-request-id"] == "a-1"
        forged = await client.get("/health", headers={"X-Request-ID": "a b=c"})
        assert forged.headers["x-request-id"] not in {"a b=c", ""}
