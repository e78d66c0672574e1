"""POST /lightrag/ingest-async in lines: the same job as from JSON, the same refusals, and little in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from orchestrator.ledger import Ledger
from tests.support.api import LINES, Api, api_over, in_lines
from tests.support.process import program, write_settings

PATH = "/lightrag/ingest-async"
HEADERS = {"Content-Type": LINES}
CHUNKS = [{"text": f"text {n}", "source_uri": f"f:{n}", "metadata": {"n": n}} for n in range(3)]


@pytest.fixture
async def api(ledger: Ledger, redis_url: str) -> AsyncIterator[Api]:
    """An API with small limits."""
    async with api_over(ledger, redis_url, max_chunks=5, max_chunk_bytes=100) as made:
        yield made


async def test_lines_become_the_job_that_json_becomes(api: Api) -> None:
    """Order, ids, metadata and wishes; empty lines are none."""
    async with api.as_("alpha") as client:
        body = in_lines({"source_type": "letters", "priority": "low"}, CHUNKS) + b"\n\n"
        answer = await client.post(PATH, content=body, headers={**HEADERS, "Content-Type": f"{LINES}; charset=utf-8"})
        assert answer.status_code == 202, answer.text
        job = (await client.get(answer.headers["location"])).json()
    assert (job["source_type"], job["priority"], job["chunks_total"]) == ("letters", "low", 3)
    rows = await api.deps.ledger.jobs.chunks(job["job_id"], status=None, after=None, limit=9)
    assert [(r["chunk_id"], r["source_uri"]) for r in rows] == [(f"chunk-0000{n + 1}", f"f:{n}") for n in range(3)]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "body"),
        (b"no json\n{}", "body"),
        (b"[]", "body"),
        (in_lines({"chunks": CHUNKS}, []), "chunks"),
        (in_lines({}, []), "chunks"),
        (in_lines({}, [{"text": "x"}] * 6), "chunks"),
        (in_lines({"unknown": 1}, CHUNKS), "'unknown'"),
        (in_lines({"metadata": {"a": "\x00"}}, CHUNKS), "metadata.a"),
        (in_lines({}, [{"text": "x"}, {"text": 1}]), "chunks[1].text"),
        (in_lines({}, [{"text": "x"}, {"text": "a\x00b"}]), "chunks[1].text"),
        (in_lines({}, [{"text": "x", "metadata": {"deep": "\x00"}}]), "chunks[0].metadata.deep"),
        (in_lines({}, [{"text": "x" * 101}]), "chunks[0].text"),
        (in_lines({}, [{"text": "x", "chunk_id": "a"}, {"text": "y", "chunk_id": "a"}]), "chunks[1].chunk_id"),
        (in_lines({}, [{"text": "x"}]) + b"\n{", "chunks[1]"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_kept(api: Api, body: bytes, where: str) -> None:
    """A 422 that names the line; no job, no chunk."""
    async with api.as_("alpha") as client:
        answer = await client.post(PATH, content=body, headers=HEADERS)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["where"] == where
        assert (await client.get("/jobs")).json()["jobs"] == []


async def test_a_key_knows_its_request_in_either_form(api: Api) -> None:
    """The same chunks give the same job, others a conflict."""
    async with api.as_("alpha") as client:
        client.headers["Idempotency-Key"] = "k"
        first = await client.post(PATH, json={"chunks": CHUNKS})
        same = await client.post(PATH, content=in_lines({}, CHUNKS), headers=HEADERS)
        other = await client.post(PATH, content=in_lines({}, CHUNKS[:2]), headers=HEADERS)
    assert (first.status_code, same.status_code, other.status_code) == (202, 202, 409)
    assert first.json()["job_id"] == same.json()["job_id"]


def _many(count: int) -> Iterator[bytes]:
    text = "A sentence of ordinary length, as a chunk would hold some dozens of them. " * 6
    yield b"{}\n"
    for n in range(count):
        yield orjson.dumps({"text": text, "source_uri": f"f:{n}"}) + b"\n"


@pytest.mark.timeout(180)
async def test_a_large_job_takes_no_more_memory_than_a_small_one(
    ledger: Ledger, database: str, redis_url: str, tmp_path: Path
) -> None:
    """50 MB in 100,000 lines: the peak of a real API process grows by what names them, a fraction of that."""
    types = {"lightrag": {"handler": "noop", "stream": "shield:ingestion_queue", "group": "lightrag-workers"}}
    options = write_settings(tmp_path, redis_url=redis_url, dsn=database, types=types)
    async with program(tmp_path, "api", *options) as process:
        url = f"http://127.0.0.1:{process.status.rpartition(' ')[2]}"
        headers = {**HEADERS, "Authorization": "Bearer key"}
        with httpx.Client(base_url=url, headers=headers, timeout=50) as client:

            def submit(count: int) -> int:
                answer = client.post(PATH, content=_many(count))
                assert answer.status_code == 202, answer.text
                return _peak_kb(process.pid)

            before = submit(1000)
            grown = submit(100_000) - before
    assert grown < 25_000, f"{grown} kB"


def _peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found: dict[str, Any] = dict(line.split(":", 1) for line in lines)
    return int(found["VmHWM"].split()[0])
