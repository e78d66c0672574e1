"""The users of Redis, as the role writes them, on a real Redis: each component does its work, and nothing is refused.

What is refused stands in ACL LOG, whoever swallowed the error: the API logs that it could not delete a view, no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis.asyncio as redis
from bullmq import Queue
from redis.exceptions import NoPermissionError

from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewChunk
from tests.deploy.ansible import PASSWORD, render
from tests.support.api import STREAM, Api, api_over, body
from tests.support.hosts import Hosts
from tests.support.jobs import new_job
from tests.support.process import program, write_settings
from tests.support.program import run
from tests.support.servers import redis_server
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(180)

CHARTS = "shield:chart_queue[1]"  # a pattern to Redis, if nobody minds
TYPES: dict[str, dict[str, Any]] = {
    "lightrag": {"stream": STREAM, "group": "lightrag-workers"},
    "charts": {"stream": CHARTS, "group": "charts", "source": "redis_stream"},
    "mails": {"stream": "mails", "source": "bullmq", "source_options": {"prefix": "shop"}},
}
QUICK: dict[str, Any] = {
    "size": 2,
    "batch": 4,
    "backoff_base_seconds": 0.05,
    "backoff_cap_seconds": 0.1,
    "heartbeat_seconds": 0.3,
    "read_block_seconds": 0.1,
    "lease_seconds": 1.0,
    "grace_period_seconds": 1.0,
}


@dataclass(frozen=True, slots=True)
class Guarded:
    """A Redis that lets nobody in but those users, and us."""

    port: int

    def url(self, user: str) -> str:
        """Return the way in for a user."""
        return f"redis://{user}:{quote(PASSWORD)}@127.0.0.1:{self.port}/0"

    @asynccontextmanager
    async def as_(self, user: str) -> AsyncIterator[redis.Redis]:
        """Give a client of a user."""
        async with redis.Redis.from_url(self.url(user), decode_responses=True) as client:
            yield client

    async def refused(self) -> list[str]:
        """Return what was refused so far: who, and what."""
        async with self.as_("admin") as client:
            entries = await client.acl_log()
        return [f"{e['username']}: {e['reason']} {e['object']} ({e['context']})" for e in entries]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Redis with the list of users that a host with these worker types would get."""
    directory = tmp_path_factory.mktemp("acl")
    types = [{"name": name, "handler": "noop", **values} for name, values in TYPES.items()]
    elsewhere = {"name": "far", "handler": "noop", "source": "bullmq", "stream": "far"}
    files = render(
        directory / "out",
        {
            "only": ["users.acl"],
            "orchestrator_worker_types": [*types, elsewhere],
            "orchestrator_base_source_credentials": [{"type": "far", "name": "source-url", "value": "redis://far"}],
        },
    )
    acl = Path(files["users.acl"])
    acl.chmod(0o644)
    with acl.open("a") as lines:
        lines.write(f"user admin on >{PASSWORD} ~* &* +@all\n")
    with redis_server("--aclfile", str(acl)) as server:
        yield Guarded(server.port)


async def test_every_component_can_do_its_work(guarded: Guarded, ledger: Ledger, database: str, tmp_path: Path) -> None:
    """A job deleted by the API left its view behind, and a second stream or a BullMQ queue could not be used at all.

    The API lacked DEL. The list of streams held the ingestion's alone; it comes from the worker types now.
    """
    types = {name: {"handler": "noop", **values} for name, values in TYPES.items()}
    options = write_settings(tmp_path, redis_url=guarded.url("worker"), dsn=database, types=types, **QUICK)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_over(ledger, guarded.url("api")))
        for name in TYPES:
            await stack.enter_async_context(program(_own(tmp_path, name), "worker", name, *options))
        await asyncio.gather(
            _api_and_worker(guarded, api, ledger), _charts(guarded, ledger), _mails(guarded), _limits(guarded)
        )
        await _command_line(guarded, tmp_path)
        assert await guarded.refused() == []
    # a smaller pool retires consumers; a worker told to stop hands back what it has
    write_settings(tmp_path, redis_url=guarded.url("worker"), dsn=database, types=types, **{**QUICK, "size": 1})
    async with program(_own(tmp_path, "lightrag"), "worker", "lightrag", *options):
        long = new_job(1, queue=STREAM, chunks=[_chunk("c0", {"sleep": 30})])
        await ledger.jobs.create(long)

        async def runs() -> bool:
            return (await ledger.jobs.get(long.job_id, None)).running == 1

        await wait_until(runs)
    assert await guarded.refused() == []


def _own(directory: Path, name: str) -> Path:
    (directory / name).mkdir(exist_ok=True)
    return directory / name


def _chunk(chunk_id: str, wishes: dict[str, Any]) -> NewChunk:
    return NewChunk(chunk_id=chunk_id, content=chunk_id, source_uri="x", metadata=wishes)


async def _ended(ledger: Ledger, job_id: str) -> None:
    async def look() -> bool:
        return (await ledger.jobs.get(job_id, None)).status in {"completed", "failed", "cancelled"}

    await wait_until(look, within=60)


async def _api_and_worker(guarded: Guarded, api: Api, ledger: Ledger) -> None:
    """Submit, fail, retry, bury, renew, cancel, forget."""

    async def shown() -> bool:  # the worker's last word: written after the deletion it would bring the view back
        async with guarded.as_("admin") as admin:
            return bool(await admin.hget(f"job:{sent}", "status") == "completed")

    chunks = [_chunk("ok", {}), _chunk("again", {"fail": 1}), _chunk("never", {"reject": True})]
    troubled = new_job(3, queue=STREAM, chunks=[*chunks, _chunk("slow", {"sleep": 1.5})])
    await ledger.jobs.create(troubled)
    async with api.as_("operator") as client:
        sent = (await client.post("/lightrag/ingest-async", json=body(3))).json()["job_id"]
        stuck = new_job(1, queue=STREAM, chunks=[_chunk("c0", {"sleep": 30})])
        await ledger.jobs.create(stuck)
        await _ended(ledger, sent)
        assert (await client.get(f"/jobs/{sent}")).json()["status"] == "completed"
        await _ended(ledger, troubled.job_id)
        assert (await client.post(f"/jobs/{stuck.job_id}/cancel")).status_code == 200
        for path in ("/ready", "/health/detailed", "/limits", "/dead-letters"):
            assert (await client.get(path)).status_code == 200, path
        letters = (await client.get("/dead-letters", params={"job_id": troubled.job_id})).json()["dead_letters"]
        assert (await client.post(f"/dead-letters/{letters[0]['id']}/retry")).status_code == 200
        await wait_until(shown, what="the view of the job as it ended")
        assert (await client.delete(f"/jobs/{sent}")).status_code == 204
    async with guarded.as_("admin") as admin:
        assert await admin.exists(f"job:{sent}") == 0


async def _charts(guarded: Guarded, ledger: Ledger) -> None:
    """Somebody else's entries on the second stream: one that can be done, one that is malformed."""
    async with guarded.as_("admin") as client:
        await client.xadd(CHARTS, {"job_id": "chart-1", "chunk_id": "0", "content": "bar"})
        await client.xadd(CHARTS, {"nonsense": "1"})

        async def buried() -> bool:
            return bool(await client.xlen(f"{CHARTS}:dead")) and await client.xlen(CHARTS) == 0

        await wait_until(buried, within=60)
    job = await ledger.jobs.get("chart-1", None)
    assert job.processed == 1


async def _mails(guarded: Guarded) -> None:
    """Jobs of BullMQ: done, delayed and done, failed for good, and one that outlasts its lock."""
    queue = Queue("mails", {"connection": guarded.url("admin"), "prefix": "shop"})
    wishes: tuple[dict[str, Any], ...] = ({}, {"fail": 1}, {"reject": True}, {"sleep": 1.5})
    for number, wish in enumerate(wishes):
        how = {"attempts": 3, "priority": number, "delay": 50 * (number == 0)}
        await queue.add("mail", {"content": "x", "metadata": wish}, how)

    async def done() -> bool:
        counts = await queue.getJobCounts("completed", "failed")
        return bool(sum(counts.values()) == len(wishes))

    await wait_until(done, within=60)
    await queue.close()


async def _limits(guarded: Guarded) -> None:
    """Permits of model calls: the worker's and, for questions, the API's."""
    for user in ("worker", "api"):
        async with AsyncExitStack() as stack:
            hosts = Hosts(guarded.url(user), stack)
            host = hosts.host()
            await asyncio.gather(*(hosts.call(host) for _ in range(8)))


async def _command_line(guarded: Guarded, directory: Path) -> None:
    """What an operator and the deployment's proof ask."""
    settings = ["--settings", str(directory / "settings")]
    (directory / "cli").mkdir()
    (directory / "cli/redis-url").write_text(guarded.url("cli"))
    done = await run("consumers", *settings, "--credentials", str(directory / "cli"))
    assert done.code == 0, done.out + done.err
    done = await run("check-source", "mails", *settings, "--credentials", str(directory / "credentials"))
    assert done.code == 0, done.out + done.err
    async with guarded.as_("cli") as client:
        await client.xrevrange(f"{STREAM}:dead")


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("default", ("PING",)),
        ("worker", ("GET", "job:1")),
        ("worker", ("XADD", "another", "*", "a", "b")),
        ("worker", ("XADD", "shield:chart_queue1", "*", "a", "b")),
        ("worker", ("SET", f"{STREAM}:x", "1")),
        ("worker", ("HGETALL", "bull:mails:1")),
        ("worker", ("HGETALL", "bull:far:1")),
        ("worker", ("FLUSHALL",)),
        ("api", ("DEL", "shop:mails:1")),
        ("api", ("XREADGROUP", "GROUP", "charts", "me", "STREAMS", CHARTS, ">")),
        ("api", ("CONFIG", "GET", "*")),
        ("cli", ("DEL", "job:1")),
        ("cli", ("KEYS", "*")),
    ],
)
async def test_no_component_can_do_more(guarded: Guarded, user: str, words: tuple[str, ...]) -> None:
    """Neither another's keys nor commands that no flow of ours needs."""
    async with guarded.as_(user) as client:
        with pytest.raises((NoPermissionError, redis.AuthenticationError)):
            await client.execute_command(*words)  # type: ignore[no-untyped-call]  # theirs
    async with guarded.as_("admin") as client:
        await client.acl_log_reset()
