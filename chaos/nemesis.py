"""The nemesis: does what the plan says to servers, links and processes, and mends all of it in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import asyncpg
import redis.asyncio as redis
from tests.support.servers import Server

from chaos.fleet import Fleet, Worker
from chaos.plan import Fault
from chaos.producer import Producers

CLOCKS = ("-1d", "-3600", "+3600", "+30d", "-2", "+2")
PATIENCE_SECONDS = 1.0


class Nemesis:
    """Acts on a fleet. Faults of one target wait for each other; those of different targets overlap."""

    def __init__(self, fleet: Fleet, producers: Producers) -> None:
        self._fleet = fleet
        self._producers = producers
        self.done: dict[str, int] = {}
        self.failed: list[str] = []
        """Faults that could not be done."""

    async def run(self, faults: tuple[Fault, ...], began: float) -> None:
        """Do all faults, each at its time."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                group.create_task(self._do(fault))

    async def heal(self) -> None:
        """Mend everything."""
        for worker in self._fleet.workers:
            worker.unit.send(signal.SIGCONT)
            await worker.to_redis.mend()
            await worker.to_postgres.mend()
            worker.clock.write_text("+0\n")
            (worker.state / "full").unlink(missing_ok=True)
        for server in (self._fleet.redis, self._fleet.postgres):
            if server.process is None:
                await asyncio.to_thread(server.start)
            if server.process is not None:
                server.process.send_signal(signal.SIGCONT)

    async def _do(self, fault: Fault) -> None:
        try:
            if fault.kind.startswith("redis"):
                async with self._fleet.redis_busy:
                    await self._to_redis(fault)
            elif fault.kind.startswith("postgres"):
                async with self._fleet.postgres_busy:
                    await self._to_postgres(fault)
            elif fault.kind == "api kill":
                async with self._fleet.api_busy:
                    await self._kill_api(fault)
            else:
                worker = self._fleet.workers[fault.target]
                async with worker.busy:
                    await self._to_worker(worker, fault)
            self.done[fault.kind] = self.done.get(fault.kind, 0) + 1
        except Exception as error:
            self.failed.append(f"{fault.kind}: {type(error).__name__}: {error}")

    async def _to_redis(self, fault: Fault) -> None:
        fleet = self._fleet
        if fault.kind == "redis kill":
            await asyncio.to_thread(fleet.redis.kill)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(fleet.redis.start)
            fleet.redis_is_empty()
        elif fault.kind == "redis freeze":
            await _freeze(fleet.redis, fault.seconds)
        else:
            client = redis.Redis.from_url(fleet.redis.url, socket_timeout=5.0)
            try:
                await client.flushall()
            finally:
                fleet.redis_is_empty()
                await client.aclose()

    async def _to_postgres(self, fault: Fault) -> None:
        server = self._fleet.postgres
        if fault.kind == "postgres kill":
            await asyncio.to_thread(_kill_all, server)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(server.start)
            return
        admin = await asyncpg.connect(f"{server.url}/postgres", timeout=10)
        try:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'orchestrator%'"
            )
        finally:
            await admin.close()

    async def _kill_api(self, fault: Fault) -> None:
        """Kill it in the middle of a submission, if one comes along soon."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._producers.sending.wait(), PATIENCE_SECONDS)
        await asyncio.sleep(fault.chance * 0.03)
        self._fleet.api.send(signal.SIGKILL)

    async def _to_worker(self, worker: Worker, fault: Fault) -> None:
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "worker kill": lambda: _signal(worker, signal.SIGKILL),
            "worker stop": lambda: _signal(worker, signal.SIGTERM),
            "worker freeze": lambda: _stop_and_go(worker, fault.seconds),
            "cut redis": lambda: _cut(worker, "redis", fault),
            "cut postgres": lambda: _cut(worker, "postgres", fault),
            "clock": lambda: _move_clock(worker, fault),
            "disk": lambda: _fill_disk(worker, fault.seconds),
        }
        await acts[fault.kind]()


async def _signal(worker: Worker, number: signal.Signals) -> None:
    worker.unit.send(number)


async def _stop_and_go(worker: Worker, seconds: float) -> None:
    worker.unit.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        worker.unit.send(signal.SIGCONT)


async def _cut(worker: Worker, where: str, fault: Fault) -> None:
    """Cut the way to a server: with resets, or so that nothing answers any more."""
    link = worker.to_redis if where == "redis" else worker.to_postgres
    if fault.chance < 0.5:  # noqa: PLR2004
        await link.cut()
    else:
        link.freeze()
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await link.mend()


async def _move_clock(worker: Worker, fault: Fault) -> None:
    worker.clock.write_text(CLOCKS[int(fault.chance * len(CLOCKS))] + "\n")
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        worker.clock.write_text("+0\n")


async def _fill_disk(worker: Worker, seconds: float) -> None:
    full = worker.state / "full"
    await asyncio.to_thread(_fill, full)
    try:
        await asyncio.sleep(seconds)
    finally:
        full.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    block = b"x" * 65536
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(block):
            pass


async def _freeze(server: Server, seconds: float) -> None:
    process = server.process
    if process is None:
        return
    process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        process.send_signal(signal.SIGCONT)


def _kill_all(server: Server) -> None:
    """Kill PostgreSQL with all its processes, as a power cut would."""
    process = server.process
    if process is None:
        return
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):  # its children are sessions of their own
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=30)
    server.process = None
