"""The nemesis: does what the plan says to servers, links and processes, and mends all of it in the end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import asyncpg
import redis.asyncio as redis
from tests.support.servers import Server

from chaos.fleet import Fleet, Worker
from chaos.plan import Fault
from chaos.sending import Sending

CLOCKS = ("-1d", "-3600", "+3600", "+30d", "-2", "+2")
PATIENCE_SECONDS = 20.0
"""So long a kill of the API waits for a submission: one comes along every two seconds, or eight at the slowest pace."""
AMID_SECONDS = 0.03


class Nemesis:
    """Acts on a fleet. Faults of one target wait for each other; those of different targets overlap."""

    def __init__(self, fleet: Fleet, sending: Sending) -> None:
        self._fleet = fleet
        self._sending = sending
        self.done: dict[str, int] = {}
        self.amid = 0
        """Kills of the API with a submission under way."""
        self.failed: list[str] = []
        """Faults that could not be done."""
        self._acts: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "worker kill": partial(self._signal, signal.SIGKILL),
            "worker stop": partial(self._signal, signal.SIGTERM),
            "worker freeze": self._stop_and_go,
            "cut redis": partial(self._cut, "redis"),
            "cut postgres": partial(self._cut, "postgres"),
            "cut queue": partial(self._cut, "queue"),
            "clock": self._move_clock,
            "disk": self._fill_disk,
            "redis kill": self._kill_redis,
            "redis freeze": partial(self._freeze, "redis"),
            "redis flush": self._flush,
            "postgres kill": partial(self._kill, "postgres"),
            "postgres drop": self._drop,
            "queue kill": partial(self._kill, "queue"),
            "queue freeze": partial(self._freeze, "queue"),
            "api kill": self._kill_api,
        }

    async def run(self, faults: tuple[Fault, ...], began: float, pace: float) -> None:
        """Do all faults, each at its time, which comes `pace` times later."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at * pace - time.monotonic()))
                group.create_task(self._do(fault))

    async def heal(self) -> None:
        """Mend everything."""
        for worker in self._fleet.workers:
            worker.unit.send(signal.SIGCONT)
            for link in worker.links.values():
                await link.mend()
            worker.clock.write_text("+0\n")
            (worker.state / "full").unlink(missing_ok=True)
        for server in self._fleet.servers.values():
            if server.process is None:
                await asyncio.to_thread(server.start)
            _running(server)(signal.SIGCONT)

    async def _do(self, fault: Fault) -> None:
        try:
            if fault.kind in self._fleet.cannot:
                raise RuntimeError("this host cannot do it")
            async with self._busy(fault):
                await self._acts[fault.kind](fault)
            self.done[fault.kind] = self.done.get(fault.kind, 0) + 1
        except Exception as error:
            self.failed.append(f"{fault.kind}: {type(error).__name__}: {error}")

    def _busy(self, fault: Fault) -> asyncio.Lock:
        where = fault.kind.partition(" ")[0]
        return self._fleet.busy[where] if where in self._fleet.busy else self._worker(fault).busy

    def _worker(self, fault: Fault) -> Worker:
        return self._fleet.workers[fault.target]

    async def _kill(self, name: str, fault: Fault) -> None:
        """Kill a server with all its processes, as a power cut would, and start it again."""
        server = self._fleet.servers[name]
        await asyncio.to_thread(_kill_all, server)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(server.start)

    async def _kill_redis(self, fault: Fault) -> None:
        """Ours keeps nothing."""
        with self._fleet.emptying_redis():
            await self._kill("redis", fault)

    async def _flush(self, fault: Fault) -> None:
        async with redis.Redis.from_url(self._fleet.redis_url, socket_timeout=60.0) as client:
            with self._fleet.emptying_redis():
                await client.flushall()

    async def _freeze(self, name: str, fault: Fault) -> None:
        tell = _running(self._fleet.servers[name])
        tell(signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            tell(signal.SIGCONT)

    async def _drop(self, fault: Fault) -> None:
        """Drop all connections of the product."""
        admin = await asyncpg.connect(f"{self._fleet.servers['postgres'].url}/postgres", timeout=60)
        try:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'orchestrator%'"
            )
        finally:
            await admin.close()

    async def _kill_api(self, fault: Fault) -> None:
        """Kill it in the middle of a submission, if one comes along soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._sending.amid(fault.chance * AMID_SECONDS)
        await self._fleet.api.hit(signal.SIGKILL)
        self.amid += bool(self._sending)  # nobody has had a turn since the signal

    async def _signal(self, number: signal.Signals, fault: Fault) -> None:
        await self._worker(fault).unit.hit(number)

    async def _stop_and_go(self, fault: Fault) -> None:
        unit = self._worker(fault).unit
        await unit.hit(signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            unit.send(signal.SIGCONT)

    async def _cut(self, name: str, fault: Fault) -> None:
        """Cut the way to a server: with resets, or so that nothing answers any more."""
        link = self._worker(fault).links[name]
        if fault.chance < 0.5:  # noqa: PLR2004
            await link.cut()
        else:
            link.freeze()
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            await link.mend()

    async def _move_clock(self, fault: Fault) -> None:
        clock = self._worker(fault).clock
        clock.write_text(CLOCKS[int(fault.chance * len(CLOCKS))] + "\n")
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            clock.write_text("+0\n")

    async def _fill_disk(self, fault: Fault) -> None:
        """Take all room there is, and what is left of the page that the next run would be written down on."""
        worker = self._worker(fault)
        full = worker.state / "full"
        try:
            await asyncio.to_thread(_fill, full)
            await asyncio.to_thread(_fill, worker.runs)
            await asyncio.sleep(fault.seconds)
        finally:
            full.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    block = b"\n" * 65536
    try:
        with path.open("ab", buffering=0) as file:
            while file.write(block):
                pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _running(server: Server) -> Callable[[signal.Signals], None]:
    """Return what sends a signal to a server. Raises RuntimeError when it does not run."""
    if server.process is None:
        raise RuntimeError("the server does not run")
    return server.process.send_signal


def _kill_all(server: Server) -> None:
    process = server.process
    if process is None:
        raise RuntimeError("the server does not run")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):  # PostgreSQL's children are sessions of their own
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=30)
    server.process = None
