"""orchestrator why and doctor, as an operator runs them on a host."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis.asyncio as redis

from orchestrator.ledger import Ledger
from tests.support.fleet import fleet_over
from tests.support.process import api_of, options_of
from tests.support.program import run


async def test_a_sick_host_is_told_from_a_well_one(database: str, redis_url: str, tmp_path: Path) -> None:
    """Without a worker, without the API, and with both; `why` names the same cause for a job."""
    async with fleet_over(database, redis_url, tmp_path) as fleet:
        async with fleet.worker():
            pass
        home = tmp_path / "h"
        options = options_of(home)
        away = await run(
            "doctor", *options, "--url", "http://127.0.0.1:1", "--key-file", str(home / "credentials/api-keys")
        )
        assert away.code == 1 and "systemctl restart orchestrator-api" in away.out
        async with api_of(home) as cli:
            asked = ["doctor", *options, "-o", "json"]
            alone = await cli(*asked)
            assert (alone.code, [f["complaint"] for f in alone.json["findings"]]) == (1, ["no_worker"])
            job = await fleet.submit(1)
            why = await cli("why", job.job_id)
            assert why.code == 0 and "no worker of type lightrag" in why.out and "systemctl restart" in why.out
            assert (await cli("why", "nobody")).code == 1
            async with fleet.worker():
                await fleet.ended(job)
                well = await cli(*asked, "--fix")
                assert (well.code, well.json) == (0, {"well": True, "findings": [], "done": []})
                assert "it has ended: completed" in (await cli("why", job.job_id)).out


async def test_what_is_safe_is_mended(database: str, redis_url: str, tmp_path: Path, client: redis.Redis) -> None:
    """Redis is emptied under a running worker, whose own look is an hour away: what it holds goes on, and the rest."""
    async with (
        fleet_over(database, redis_url, tmp_path) as fleet,
        fleet.worker(tracking={"reconcile_interval_seconds": 3600}),
        api_of(tmp_path / "h") as cli,
    ):
        job = await fleet.submit(40, sleep=0.3)
        await fleet.running(job)
        await client.flushall()
        options = options_of(tmp_path / "h")
        sick = await cli("doctor", *options)
        assert sick.code == 1 and "orchestrator doctor --fix" in sick.out
        mended = await cli("doctor", *options, "--fix")
        assert "mended: lightrag: 1 jobs put up for dispatch again" in mended.out
        assert (await fleet.ended(job)).processed == 40


@pytest.mark.parametrize("which", ["postgres-dsn", "redis-url"])
async def test_wrong_credentials_are_named(
    ledger: Ledger, database: str, redis_url: str, tmp_path: Path, which: str
) -> None:
    """Which one, without showing it."""
    async with fleet_over(database, redis_url, tmp_path) as fleet, fleet.worker():
        home = tmp_path / "h"
        wrong = {
            "postgres-dsn": database.replace("postgres@", "nobody:hunter2@"),
            "redis-url": redis_url.replace("redis://", "redis://nobody:hunter2@"),
        }
        (home / "credentials" / which).write_text(wrong[which])
        options = options_of(home)
        done = await run(
            "doctor", *options, "--url", "http://127.0.0.1:1", "--key-file", str(home / "credentials/api-keys")
        )
        assert done.code == 1 and f"credential {which}" in done.out
        assert "hunter2" not in done.out + done.err
