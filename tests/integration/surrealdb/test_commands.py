"""Whole workers over a command table: the published client submits and sees the end; its owner cancels."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from orchestrator.ledger import Ledger
from tests.conformance.surrealdb_backend import SurrealBackend
from tests.conformance.workers import Workers, message
from tests.support.servers import Server
from tests.support.surreal_server import DATABASE, NAMESPACE, surreal_query
from tests.support.wait import wait_until

pytestmark = pytest.mark.xdist_group("surrealdb")
TABLE = "command"
PRODUCER = Path(__file__).with_name("producer.py")


@pytest.fixture
async def workers(server: Server, ledger: Ledger, database: str, redis_url: str, tmp_path: Path) -> Workers:
    """The table that the published client knows, empty, and nobody at work on it yet."""
    backend = SurrealBackend()
    backend.server = server
    await surreal_query(server, f"REMOVE TABLE IF EXISTS {TABLE}")
    await backend.prepare(TABLE)
    return Workers(backend, TABLE, ledger, database, redis_url, tmp_path)


async def submit(server: Server, *arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Submit with the published client, wait for the ends with it, and return what it saw."""
    reach = {"URL": f"ws://127.0.0.1:{server.port}/rpc", "NAMESPACE": NAMESPACE, "DATABASE": DATABASE}
    user = {"USER": "root", "PASSWORD": "root"}
    environment = {**os.environ, **{f"SURREAL_{name}": value for name, value in {**reach, **user}.items()}}
    program = [sys.executable, str(PRODUCER), *(orjson.dumps(given).decode() for given in arguments)]
    process = await asyncio.create_subprocess_exec(
        *program, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    seen: list[dict[str, Any]] = orjson.loads(told)
    return seen


async def test_2_the_published_client_sees_how_its_commands_end(workers: Workers, server: Server) -> None:
    """D-02, D-14: surreal-commands submits, a worker of ours does it, surreal-commands waits for the end."""
    submitting = asyncio.create_task(submit(server, {"x": 21}, {"x": 1, "metadata": {"reject": True}}))
    async with workers.start():
        done, refused = await submitting
        await workers.done()
    assert done["id"].startswith("command:")
    assert (done["status"], done["error"]) == ("completed", None)
    assert done["result"] == {"entities": 0, "relations": 0, "detail": {}}
    assert (refused["status"], refused["error"]) == ("failed", "rejected: rejected on request")
    assert await workers.count("processed") == await workers.count("failed") == 1


@pytest.mark.parametrize("spelling", ["canceled", "cancelled"])
async def test_x11_a_command_that_its_owner_cancels_is_interrupted(
    workers: Workers, server: Server, spelling: str
) -> None:
    """D-x11, D-13: at the next heartbeat; the ledger knows it as cancelled, and the row stays as it is.

    Set back by its owner (D-25) it is run again, as another job.
    """
    await workers.put(message(hang=1))

    async def row() -> dict[str, Any]:
        [found] = await surreal_query(server, f"SELECT * FROM {TABLE}")
        return dict(found)

    async def let_go() -> bool:
        return "token" not in (await row())["orchestrator"]

    async with workers.start():
        await workers.until("running", 1)
        await surreal_query(server, f"UPDATE {TABLE} SET status = $status", status=spelling)
        await workers.until("cancelled", 1, within=10)
        assert (await row())["status"] == spelling
        await wait_until(let_go, what="the end of its lease")
        await surreal_query(server, f"UPDATE {TABLE} SET status = 'new', args.metadata = {{}}")
        await workers.until("processed", 1)
    assert await workers.count("cancelled") == 1
