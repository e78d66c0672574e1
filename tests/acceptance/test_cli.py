"""The command line as people use it: the installed program against a real API, worker, Redis and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import pty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import RejectError
from orchestrator.handlers.base import Context
from orchestrator.ledger import Ledger
from tests.support.api import STREAM, Api, api_over, served
from tests.support.program import PROGRAM, Cli, run
from tests.support.servers import free_port
from tests.support.system import Work, system
from tests.support.wait import wait_until

PROSE = "\n\n".join(f"Paragraph {n} says something of its own, and says it in full." for n in range(12))
GROUP = "lightrag-workers"


async def _work(delivery: Delivery, context: Context) -> Result:
    if "poison" in (delivery.content or ""):
        raise RejectError("will not\x1b[31m do")
    return Result(entities=2, relations=1)


@asynccontextmanager
async def _all(ledger: Ledger, redis_url: str, tmp_path: Path, work: Work = _work) -> AsyncIterator[tuple[Cli, Api]]:
    key_file = tmp_path / "api-key"
    key_file.write_text("key-of-operator\n")
    async with (
        system(ledger, redis_url, work, stream=STREAM, group=GROUP, timeout_seconds=60.0),
        api_over(ledger, redis_url) as api,
        served(api) as url,
    ):
        yield Cli(url, key_file), api


@pytest.fixture
async def cli(ledger: Ledger, redis_url: str, tmp_path: Path) -> AsyncIterator[Cli]:
    """The program with an API and a worker behind it."""
    async with _all(ledger, redis_url, tmp_path) as (found, _):
        yield found


async def test_submit_and_watch_to_the_end(ledger: Ledger, redis_url: str, tmp_path: Path) -> None:
    """The work begins when it is watched: of a job that has ended before, no progress is shown."""
    watched = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        await watched.wait()
        return await _work(delivery, context)

    async def let_work(api: Api) -> None:
        async def followed() -> bool:
            return api.deps.follower.subscribers > 0

        await wait_until(followed, within=40, what="a stream of events")
        watched.set()

    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/prose.txt").write_text(PROSE)
    words = ("submit", str(tmp_path / "corpus"), "--chunk-chars", "70", "--watch", "--workspace", "w1")
    async with _all(ledger, redis_url, tmp_path, work) as (cli, api):
        done, _ = await asyncio.gather(cli(*words), let_work(api))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].endswith(": 12 chunks accepted")
    assert "100 %  12/12 chunks" in lines
    assert lines[-1].startswith("completed: 12 processed of 12 chunks, 24 entities, 12 relations, ")


async def test_everything_a_reader_asks_comes_as_json(cli: Cli) -> None:
    done = await cli("submit", "-", "-o", "json", "--chunk-chars", "70", stdin=PROSE)
    job_id = done.json["job_id"]
    watched = [json.loads(line) for line in (await cli("watch", job_id, "-o", "json")).out.splitlines()]
    assert watched[-1]["job"]["status"] == "completed"
    assert (await cli("job", job_id, "-o", "json")).json["chunks_total"] == 12
    assert len((await cli("job", job_id, "--chunks", "-o", "json")).json["chunks"]) == 12
    assert [j["job_id"] for j in (await cli("jobs", "-o", "json", "--limit", "1")).json] == [job_id]
    assert (await cli("jobs", "-o", "json", "--status", "failed")).json == []
    assert (await cli("cancel", job_id, "-o", "json")).json["status"] == "completed"


async def test_the_same_idempotency_key_gives_the_same_job(cli: Cli) -> None:
    words = ("submit", "-", "-o", "json", "--idempotency-key", "once")
    first, second = [(await cli(*words, stdin="Some text.")).json["job_id"] for _ in range(2)]
    assert first == second
    refused = await cli(*words, stdin="Other text.")
    assert refused.code == 1
    assert "use a new key" in refused.err


async def test_a_failed_job_fails_the_command_and_says_where(cli: Cli) -> None:
    done = await cli("submit", "-", "--watch", stdin="poison")
    assert done.code == 1
    assert "error (chunk chunk-00001): " in done.out
    assert "will not" in done.out
    assert "\x1b" not in done.out
    shown = await cli("job", done.out.split()[1].rstrip(":"), "--chunks")
    assert "failed" in shown.out


async def test_the_canary_sings_and_leaves_nothing_behind(cli: Cli) -> None:
    done = await cli("canary", "lightrag", "--timeout", "20")
    assert done.code == 0, done.err
    assert "queued → started → progress → completed" in done.out
    assert (await cli("jobs", "-o", "json")).json == []


async def test_a_canary_that_gets_no_answer_says_what_to_look_at(
    ledger: Ledger, redis_url: str, tmp_path: Path
) -> None:
    key_file = tmp_path / "api-key"
    key_file.write_text("key-of-operator")
    async with api_over(ledger, redis_url) as api, served(api) as url:  # and no worker
        done = await Cli(url, key_file)("canary", "lightrag", "--timeout", "5")
        assert done.code == 1
        assert "seen so far: queued; look at: journalctl -u orchestrator-worker@lightrag" in done.err
        assert (await Cli(url, key_file)("jobs", "-o", "json")).json == []


async def test_a_failing_canary_names_the_reason(ledger: Ledger, redis_url: str, tmp_path: Path) -> None:
    async def refuse(delivery: Delivery, context: Context) -> Result:
        raise RejectError("the model is away")

    async with _all(ledger, redis_url, tmp_path, refuse) as (cli, _):
        done = await cli("canary", "lightrag", "--timeout", "20")
    assert done.code == 1
    assert "the model is away" in done.err
    assert len(done.err.splitlines()) == 1


async def test_the_stream_is_taken_up_again_when_the_api_restarts(
    ledger: Ledger, redis_url: str, tmp_path: Path
) -> None:
    gate = asyncio.Event()

    async def wait(delivery: Delivery, context: Context) -> Result:
        await gate.wait()
        return Result()

    key_file = tmp_path / "api-key"
    key_file.write_text("key-of-operator")
    async with system(ledger, redis_url, wait, stream=STREAM, group=GROUP):
        port = free_port()  # of those that nobody is given while it is closed
        async with api_over(ledger, redis_url) as api, served(api, port) as url:
            cli = Cli(url, key_file)
            job_id = (await cli("submit", "-", "-o", "json", stdin="Some text.")).json["job_id"]
            pipe = asyncio.subprocess.PIPE
            words = ["watch", job_id, "-o", "json", *cli.connection]
            process = await asyncio.create_subprocess_exec(PROGRAM, *words, stdout=pipe, stderr=pipe)
            assert process.stdout is not None
            first = [json.loads(await process.stdout.readline())["event"] for _ in range(2)]
        assert first == ["ingestion.queued", "ingestion.started"]
        async with api_over(ledger, redis_url) as api, served(api, port):
            gate.set()
            out, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, err.decode()
        rest = [json.loads(line) for line in out.decode().splitlines()]
    assert [line.get("event") for line in rest] == ["ingestion.progress", "ingestion.completed", None]


async def test_a_terminal_gets_one_bar_to_100_percent(cli: Cli) -> None:
    leader, follower = pty.openpty()
    words = ["submit", "-", "--watch", "--chunk-chars", "70", *cli.connection]
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words, stdin=asyncio.subprocess.PIPE, stdout=follower, env={**os.environ, "TERM": "xterm"}
    )
    os.close(follower)
    await asyncio.wait_for(process.communicate(PROSE.encode()), 40)
    shown = await asyncio.to_thread(_read_all, leader)
    assert process.returncode == 0
    assert "100%" in shown
    assert "12/12" in shown
    assert "completed: 12 processed of 12 chunks" in shown


def _read_all(descriptor: int) -> str:
    found = b""
    with os.fdopen(descriptor, "rb", buffering=0) as terminal:
        while True:
            try:
                piece = terminal.read(65536)
            except OSError:  # how a terminal says that its other end is closed
                break
            if not piece:
                break
            found += piece
    return found.decode()


async def test_status_tells_of_every_type(cli: Cli) -> None:
    done = await cli("status", "-o", "json")
    assert "lightrag" in done.json["workers"]
    assert "lightrag" in (await cli("status")).out


async def test_a_query_without_an_engine_says_so(cli: Cli) -> None:
    done = await cli("query", "What is it?")
    assert done.code == 1
    assert "No query engine is configured" in done.err


async def test_errors_are_one_line_on_standard_error(cli: Cli, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong-key"
    wrong.write_text("nobody")
    for done, said in (
        (await cli("job", "none"), "no job 'none'"),
        (await cli("submit", str(tmp_path / "none.txt")), "none.txt: cannot be read: No such file or directory"),
        (await cli("canary", "charts"), "takes no jobs for worker type 'charts'"),
        (await run("jobs", "--url", cli.url, "--key-file", str(tmp_path / "none")), "pass --key-file FILE"),
        (await run("jobs", "--url", cli.url, "--key-file", str(wrong)), "check --key-file"),
        (await run("jobs", "--url", "http://127.0.0.1:1", "--key-file", str(cli.key_file)), "does not answer"),
    ):
        assert done.code == 1
        assert done.err.startswith("orchestrator: ")
        assert len(done.err.splitlines()) == 1
        assert said in done.err
        assert done.out == ""
