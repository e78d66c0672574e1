"""The processes that systemd runs, started by the program: they get ready, work together, and stop when told."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.ledger.schema import migrate
from tests.support.process import client_of, program, write_settings
from tests.support.program import run

TYPES = {"lightrag": {"handler": "noop", "stream": "shield:ingestion_queue", "group": "lightrag-workers"}}


async def test_worker_api_and_supervisor_work_together(database: str, redis_url: str, tmp_path: Path) -> None:
    await migrate(database)
    options = write_settings(tmp_path, redis_url=redis_url, dsn=database, size=2, types=TYPES)
    async with (
        program(tmp_path, "worker", "lightrag", *options) as worker,
        program(tmp_path, "api", *options) as api,
        program(tmp_path, "supervisor", *options) as supervisor,
    ):
        cli = client_of(api, tmp_path)
        canary = await cli("canary", "lightrag", "--timeout", "20")
        assert canary.code == 0, canary.err + worker.log
        status = await cli("status", "-o", "json")
        assert (status.code, status.json["workers"]["lightrag"]["active_workers"]) == (0, 2)
        assert (await run("consumers", *options)).code == 0
        for process in (worker, api, supervisor):
            assert await process.stop() == 0, process.log
        assert "info workers: worker ready worker_type=lightrag slots=2" in worker.log.splitlines()


@pytest.mark.parametrize("words", [["worker", "lightrag"], ["api"], ["supervisor"]], ids=lambda words: words[0])
async def test_wrong_settings_stop_a_process_with_one_line(words: list[str], tmp_path: Path) -> None:
    options = write_settings(tmp_path, redis_url="redis://h", dsn="postgresql://h/d", size=0, types=TYPES)
    done = await run(*words, *options)
    assert done.code == 1
    assert done.err.splitlines() == [
        f"orchestrator: {tmp_path}/settings/workers/worker_pool.py: size must be >= 1, got 0"
    ]


async def test_a_process_without_credentials_says_what_to_do(tmp_path: Path) -> None:
    options = write_settings(tmp_path, redis_url="redis://h", dsn="postgresql://h/d", types=TYPES)
    done = await run("worker", "lightrag", *options[:2])
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "pass --credentials DIR" in done.err


async def test_an_unknown_type_is_named(tmp_path: Path) -> None:
    options = write_settings(tmp_path, redis_url="redis://h", dsn="postgresql://h/d", types=TYPES)
    done = await run("worker", "charts", *options)
    assert done.code == 1
    assert "no worker type 'charts'; known types: lightrag" in done.err
