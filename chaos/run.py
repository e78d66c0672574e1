"""One run: start everything, submit and disturb, mend, wait for the end, look at what is left."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from tests.support.wait import wait_until

from chaos import checker, facts
from chaos.findings import KINDS, Finding, totals
from chaos.fleet import MAX_DELIVERIES, Fleet, fleet_in
from chaos.nemesis import Nemesis
from chaos.plan import Job, Noise, Plan, make
from chaos.queue import Queue

START_SECONDS = 120.0
QUICK_SECONDS, SLOWEST_PACE = 3.0, 4.0
"""Within these all workers begin on a machine that is not busy. Where they take longer everything comes slower in that
proportion: else workers would live too short there to get anything done. At most so many times: a run has to end."""
PATIENT_LOOKS = 120
LOOK_SECONDS = 0.5
"""After the last fault something happens within so many looks (a minute; more on a machine on which a look takes long),
until all that was accepted has ended. Else it is stuck. How long all of it takes is the machine's affair."""
PROGRESS = "SELECT count(ended_at) + coalesce(sum(deliveries), 0) FROM chunks"
SHOWN = 12  # of each kind
DISK_FULL = "no room"  # what the handlers say then

Until = Callable[[Finding], bool]


def nothing(finding: Finding) -> bool:
    """Go on to the end, whatever is found."""
    return False


def pace_after(start_seconds: float) -> float:
    """Return how many times slower everything comes where the workers took so long to begin. Pure."""
    return min(SLOWEST_PACE, max(1.0, start_seconds / QUICK_SECONDS))


@dataclass(slots=True)
class Report:
    """What came of a run."""

    line: dict[str, object]
    found: list[Finding]
    notes: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether anything was found."""
        return bool(self.found)


async def run(
    seed: int,
    faults: int,
    queue: Queue,
    *,
    mutant: str | None = None,
    until: Until = nothing,
    only: Collection[str] = (),
) -> Report:
    """Do a run and return what came of it; a finding that `until` is true of ends it."""
    began = time.monotonic()
    plan = make(seed, faults, queue.shape, only=only)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        try:
            reach = await queue.open()
            async with fleet_in(Path(name), reach, mutant) as fleet:
                report = await _Run(plan, fleet, queue, until).do()
        finally:
            await queue.close()
    left_out = sorted(queue.shape.left_out | fleet.cannot)
    report.line |= {"left_out": left_out, "seconds": round(time.monotonic() - began, 1), "seed": seed}
    report.line = {"source": queue.name, **report.line}
    return report


class _Run:
    def __init__(self, plan: Plan, fleet: Fleet, queue: Queue, until: Until) -> None:
        self._plan = plan
        self._fleet = fleet
        self._queue = queue
        self._until = until
        self._producers = queue.producers(fleet)
        self._nemesis = Nemesis(fleet, self._producers.sending)
        self._watch = queue.watch(fleet)
        self._watching: asyncio.Task[None]
        self._producing: list[asyncio.Task[None]] = []
        self._pace = 1.0
        self._found: list[Finding] = []
        self._chunks = 0
        self._notes: list[str] = []

    async def do(self) -> Report:
        began = time.monotonic()
        self._fleet.start()
        try:
            await wait_until(self._all_work, within=START_SECONDS, what="the first heartbeat of all workers")
        except AssertionError as late:
            raise RuntimeError("\n".join([str(late), *(unit.log() for unit in self._fleet.units)])) from late
        self._watching = asyncio.create_task(self._watch.run())
        try:
            ready = time.monotonic()
            self._pace = pace_after(ready - began)
            await self._disturb()
            await self._nemesis.heal()
            calm = time.monotonic()
            if not self._enough():
                await self._calm()
            done = time.monotonic()
            self._notes.append(
                f"{ready - began:.0f} s to start, {calm - ready:.0f} of faults, {done - calm:.0f} of calm"
            )
            await self._stop_workers()
            await self._end_watch()
            await self._judge()
        finally:
            await _end([self._watching, *self._producing])
            await self._watch.close()
            await self._producers.close()
        return self._report()

    def _enough(self) -> bool:
        return any(self._until(finding) for finding in self._watch.findings)

    async def _all_work(self) -> bool:
        connection = await asyncpg.connect(self._fleet.dsn)
        try:
            hosts = await connection.fetchval("SELECT count(DISTINCT host) FROM workers")
        finally:
            await connection.close()
        return int(hosts) == len(self._fleet.workers)

    async def _disturb(self) -> None:
        """Let producers and nemesis do what is planned; producers go on until all they have is accepted."""
        began = time.monotonic()
        self._producing = [asyncio.create_task(self._submit(job, began)) for job in self._plan.jobs]
        self._producing += [asyncio.create_task(self._noise(noise, began)) for noise in self._plan.noise]
        acting = asyncio.create_task(self._nemesis.run(self._plan.faults, began, self._pace))
        try:
            while not acting.done() and not self._enough():
                await asyncio.wait([acting], timeout=1.0)
        finally:
            await _end([acting])
        if self._enough():
            for task in self._producing:
                task.cancel()

    async def _submit(self, job: Job, began: float) -> None:
        await asyncio.sleep(max(0.0, began + job.at * self._pace - time.monotonic()))
        await self._producers.submit(job)

    async def _noise(self, noise: Noise, began: float) -> None:
        await asyncio.sleep(max(0.0, began + noise.at * self._pace - time.monotonic()))
        await self._producers.disturb(noise)

    async def _calm(self) -> None:
        """Nothing goes wrong any more: everything has to be accepted, and everything accepted has to end."""
        await self._while_it_moves(self._all_submitted)
        if late := [task for task in self._producing if not task.done()]:
            self._found.append(Finding("stuck", f"{len(late)} submissions were not accepted in the calm", len(late)))
            for task in late:
                task.cancel()
        for task in self._producing:
            if task.done() and not task.cancelled() and (error := task.exception()):
                self._found.append(Finding("not_done", f"a producer broke: {type(error).__name__}: {error}"))
        await self._producers.calm(self._plan.jobs)
        await self._while_it_moves(self._all_ended)

    async def _while_it_moves(self, done: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it is done, or nothing moves any more: what is missing then is found."""
        best, idle = -1, 0
        while idle < PATIENT_LOOKS and not self._enough() and not await done():
            progress = await self._progress()
            best, idle = max(best, progress), 0 if progress > best else idle + 1
            await asyncio.sleep(LOOK_SECONDS)

    async def _all_submitted(self) -> bool:
        return all(task.done() for task in self._producing)

    async def _all_ended(self) -> bool:
        connection = await asyncpg.connect(self._fleet.dsn)
        try:
            live = await connection.fetchval("SELECT count(*) FROM jobs WHERE status IN ('queued', 'processing')")
        finally:
            await connection.close()
        return not live and not any((await self._queue.left(self._fleet)).values())

    async def _progress(self) -> int:
        """Return how much was done: submissions, chunks that ended, hand-outs of deadly ones."""
        connection = await asyncpg.connect(self._fleet.dsn)
        try:
            return sum(task.done() for task in self._producing) + int(await connection.fetchval(PROGRESS))
        finally:
            await connection.close()

    async def _stop_workers(self) -> None:
        stopped = await asyncio.gather(*(unit.stop() for unit in self._fleet.units))
        for unit, in_time in zip(self._fleet.units, stopped, strict=True):
            if not in_time:
                self._found.append(Finding("stuck", f"{unit.name} did not stop:\n{unit.log()}"))
            self._found += [Finding("crashed", crash) for crash in unit.crashes]

    async def _end_watch(self) -> None:
        self._watching.cancel()
        [broken] = await asyncio.gather(self._watching, return_exceptions=True)
        if not isinstance(broken, asyncio.CancelledError):
            self._found.append(Finding("not_done", f"the watch broke: {type(broken).__name__}: {broken}"))
        if not self._watch.looks:
            self._found.append(Finding("not_done", "the watch has never seen anything"))

    async def _judge(self) -> None:
        self._found += self._watch.findings
        self._found += [Finding("not_done", what) for what in self._nemesis.failed]
        if self._enough():
            return
        fleet = self._fleet
        runs = [worker.runs for worker in fleet.workers]
        found = await facts.read(fleet.dsn, fleet.redis_url, await self._queue.left(fleet), runs)
        accepted = self._producers.accepted(found)
        known = {finding.what for finding in self._found}
        judged = checker.judge(
            found,
            accepted,
            malformed=self._producers.malformed(),
            permanent=self._queue.permanent,
            max_deliveries=MAX_DELIVERIES,
        )
        self._found += [finding for finding in judged if finding.what not in known]  # seen during the run already
        self._found += [*await self._queue.look(found), *self._producers.wrong]
        self._chunks = len(found.chunks)
        full = sum(bool(row["error"] and DISK_FULL in row["error"]) for row in found.history)
        self._notes.append(f"runs that found the disk full: {full}")

    def _report(self) -> Report:
        notes = [*self._notes]
        for kind in KINDS:
            notes += [f"{kind}: {f.what}" for f in self._found if f.kind == kind][:SHOWN]
        notes += [f"wrote {n} times: {what}" for unit in self._fleet.units for what, n in unit.errors().items()]
        notes.append(f"faults done: {self._nemesis.done}; looks: {self._watch.looks}")
        if kills := self._nemesis.done.get("api kill"):
            notes.append(f"kills of the API in the middle of a submission: {self._nemesis.amid} of {kills}")
        notes.append("lives: " + ", ".join(f"{unit.name} {unit.lives}" for unit in self._fleet.units))
        faults = sum(self._nemesis.done.values())
        return Report({"faults": faults, "chunks": self._chunks, **totals(self._found)}, self._found, notes)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until each has ended: clients of Redis and PostgreSQL may swallow a cancellation."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=LOOK_SECONDS)
