"""The peers beside us, run by run in turn: jobs that do nothing, one worker process, the same Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio as redis
from tests.support.wait import wait_until

from bench import durable
from bench.peers.venv import ROOT, python_of
from bench.processes import cpu_seconds
from bench.report import Cost, middle
from bench.stage import Scene, Stage, fresh

PEERS = ("arq", "saq", "streaq", "taskiq_redis", "dramatiq", "celery", "bullmq")
PREFIX = "peer_"
NAMES = tuple(PREFIX + name for name in PEERS)
JOBS = 3000
OUR_CHUNKS = 20_000
BATCH = 100
RUNS = 3
START_SECONDS, END_SECONDS = 60.0, 120.0


@dataclass(frozen=True, slots=True)
class Drained:
    """What a peer's run cost, and what it says of itself."""

    cost: Cost
    about: dict[str, str]


async def all_of(on: Stage, wanted: Sequence[str]) -> None:
    """Compare those that are wanted with our no-op path at batch 100."""
    peers = [name.removeprefix(PREFIX) for name in wanted]
    ours: list[Cost] = []
    found: dict[str, list[Drained]] = {name: [] for name in peers}
    errors: dict[str, Exception] = {}
    async with fresh(on) as it:
        for _ in range(RUNS):
            ours.append(await durable.throughput(it, count=OUR_CHUNKS, batch=BATCH))
            for name in peers:
                if name not in errors:
                    try:
                        found[name].append(await drain(it, name))
                    except Exception as error:  # said in its line
                        errors[name] = error
    we = middle(ours)
    for name in peers:
        if name in errors:
            on.report.tell({"bench": PREFIX + name, "error": f"{type(errors[name]).__name__}: {errors[name]}"})
        else:
            _emit(on, name, found[name], we)


def _emit(on: Stage, name: str, runs: Sequence[Drained], ours: Cost) -> None:
    cost, about = middle([run.cost for run in runs]), runs[0].about
    on.report.emit(
        PREFIX + name,
        per_second=cost.per_second,
        cpu_us=cost.cpu_us,
        ratio=ours.per_second / cost.per_second,
        jobs=cost.chunks,
        version=about["version"],
        setting=about["setting"],
        ours_per_second=round(ours.per_second, 1),
        ours_cpu_us=round(ours.cpu_us, 2),
    )


async def drain(it: Scene, name: str) -> Drained:
    """Fill the peer's queue, start its worker, and return what it cost from ready to the last ack."""
    python, done = await python_of(name), it.directory / "done"
    done.write_bytes(bytes(8))
    words = (it.redis_url, str(JOBS), str(done))
    async with redis.Redis.from_url(it.redis_url) as client:
        await client.flushall()
        filling = await _child(it, python, name, "enqueue", *words)
        if await filling.wait():
            raise RuntimeError(_log(it))
        working = await _child(it, python, name, "work", *words)
        try:
            return await _watch(it, client, working)
        finally:
            os.killpg(working.pid, signal.SIGKILL)
            await working.wait()


async def _child(it: Scene, python: str, *words: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    with (it.directory / "peer.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            python, "-m", "bench.peers.child", *words, cwd=ROOT, stdout=pipe, stderr=log, start_new_session=True
        )


async def _watch(it: Scene, client: Any, working: asyncio.subprocess.Process) -> Drained:
    """Wait until it is ready, then until its queue is empty; nobody else counts its jobs as done."""
    assert working.stdout is not None
    line = await asyncio.wait_for(working.stdout.readline(), START_SECONDS)
    began, cpu = time.perf_counter(), cpu_seconds(working.pid)
    if not line:
        raise RuntimeError(_log(it))
    about: dict[str, str] = json.loads(line)
    left = client.register_script(about["left"])

    async def empty() -> bool:
        if working.returncode is not None:
            raise RuntimeError(_log(it))
        return int(await left()) == 0

    await wait_until(empty, within=END_SECONDS, what="an empty queue")
    cost = Cost(JOBS, time.perf_counter() - began, cpu_seconds(working.pid) - cpu)
    (count,) = struct.unpack("Q", (it.directory / "done").read_bytes())
    if count != JOBS:
        raise RuntimeError(f"{count} of {JOBS} jobs were run")
    return Drained(cost, about)


def _log(it: Scene) -> str:
    return (it.directory / "peer.log").read_text(errors="replace")[-500:] or "it ended and said nothing"
