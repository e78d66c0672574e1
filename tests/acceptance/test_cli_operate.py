"""What a deployment runs: check-settings, migrate, consumers, with the real thing behind them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis.asyncio as redis

from orchestrator.ledger import Ledger
from tests.support.program import run
from tests.support.system import system
from tests.support.wait import wait_until

POOL = '''"""Sizing of the worker pool."""

from orchestrator.settings import WorkerPoolSettings

settings = WorkerPoolSettings(
    host="h",
    size={size},
    types={{"lightrag": {{"handler": "noop", "stream": "q", "group": "g"}}}},
)
'''


def settings_in(directory: Path, size: int = 2) -> Path:
    """Write worker_pool.py and return its directory of settings."""
    (directory / "workers").mkdir(parents=True, exist_ok=True)
    (directory / "workers/worker_pool.py").write_text(POOL.format(size=size))
    return directory


def credentials_in(directory: Path, **values: str) -> str:
    """Write credentials and return their directory."""
    directory.mkdir()
    for name, value in values.items():
        (directory / name.replace("_", "-")).write_text(value)
    return str(directory)


async def test_settings_are_checked_file_by_file(tmp_path: Path) -> None:
    good = settings_in(tmp_path) / "workers/worker_pool.py"
    done = await run("check-settings", str(good))
    assert (done.code, done.out) == (0, f"{good}: WorkerPoolSettings is right\n")
    wrong = settings_in(tmp_path, size=0) / "workers/worker_pool.py"
    done = await run("check-settings", str(wrong))
    assert (done.code, done.err) == (1, f"orchestrator: {wrong}: size must be >= 1, got 0\n")


async def test_migrate_tells_what_is_pending_and_does_it_once(database: str, tmp_path: Path) -> None:
    where = ("--credentials", credentials_in(tmp_path / "c", migrate_dsn=database))
    pending = await run("migrate", "--check", *where, "-o", "json")
    assert pending.code == 3
    names = json.loads(pending.out)["pending"]
    assert names
    done = await run("migrate", *where)
    assert (done.code, done.out) == (0, f"applied: {', '.join(names)}\n")
    assert (await run("migrate", "--check", *where)).code == 0
    assert (await run("migrate", *where)).out == "the schema is up to date\n"


async def test_a_migration_that_fails_says_why_without_the_dsn(database: str, tmp_path: Path) -> None:
    where = ("--credentials", credentials_in(tmp_path / "c", migrate_dsn=database))
    done = await run("migrate", *where, "--grant", "nobody\nforged")
    assert done.code == 1
    assert r'role "nobody\nforged" does not exist' in done.err
    assert len(done.err.splitlines()) == 1
    assert database not in done.err


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://u:hidden@127.0.0.1:1/x", "PostgreSQL does not answer"),
        ("hidden", "credential 'migrate-dsn' is no DSN"),
        ("postgresql://u:hidden@127.0.0.1:port/x", "credential 'migrate-dsn' cannot be read"),
    ],
)
async def test_a_wrong_dsn_is_never_shown(dsn: str, said: str, tmp_path: Path) -> None:
    done = await run("migrate", "--credentials", credentials_in(tmp_path / "c", migrate_dsn=dsn))
    assert done.code == 1
    assert said in done.err
    assert "hidden" not in done.err


async def test_x40_the_check_fails_unless_the_very_consumers_are_there(
    ledger: Ledger, redis_url: str, tmp_path: Path
) -> None:
    credentials = credentials_in(tmp_path / "c", redis_url=redis_url)
    words = ["consumers", "--settings", str(settings_in(tmp_path)), "--credentials", credentials, "-o", "json"]
    before = await run(*words)
    assert before.code == 1
    assert json.loads(before.out)["types"]["lightrag"]["missing"] == ["h-lightrag-0", "h-lightrag-1"]
    async with system(ledger, redis_url) as worker:

        async def registered() -> bool:
            return len(await worker.source.consumers()) == 2

        await wait_until(registered)
        agreed = await run(*words)
        assert (agreed.code, json.loads(agreed.out)["differences"]) == (0, [])
        settings_in(tmp_path, size=1)
        fewer = await run(*words[:-2])
    assert fewer.code == 1
    assert "lightrag: registered but not expected: h-lightrag-1" in fewer.out


async def test_x40_a_group_that_is_not_there_is_an_error(redis_url: str, tmp_path: Path) -> None:
    """`redis-cli` says NOGROUP and exits 0, so the first design's check passed; and to ask must not make the group."""
    words = ("consumers", "--settings", str(settings_in(tmp_path)))
    where = ("--credentials", credentials_in(tmp_path / "c", redis_url=redis_url))
    client = redis.Redis.from_url(redis_url)
    for stream_is_there in (False, True):
        if stream_is_there:
            await client.xadd("q", {"job_id": "j"})
        done = await run(*words, *where)
        assert done.code == 1
        assert "lightrag: stream q has no group g, has none; see journalctl" in done.out.replace("\n", " ")
        assert "lightrag: not registered in group g: h-lightrag-0, h-lightrag-1" in done.out
    assert await client.xinfo_groups("q") == []
    await client.aclose()


async def test_a_type_that_is_not_there_is_named(redis_url: str, tmp_path: Path) -> None:
    words = ("consumers", "--settings", str(settings_in(tmp_path)), "--type", "charts")
    done = await run(*words, "--credentials", credentials_in(tmp_path / "c", redis_url=redis_url))
    assert done.code == 1
    assert "no worker type 'charts'; known types: lightrag" in done.err
