"""One run: start everything, submit and disturb, mend, wait for the end, look at what is left."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from tests.support.wait import wait_until

from chaos import checker, facts
from chaos.findings import Finding, totals
from chaos.fleet import GROUP, MAX_DELIVERIES, STREAM, Fleet, fleet_in
from chaos.nemesis import Nemesis
from chaos.plan import Job, Noise, Plan, make
from chaos.producer import Producers
from chaos.watch import Watch

START_SECONDS = 60.0
CALM_SECONDS = 120.0
"""How long after the last fault everything that was accepted may take to end."""
PRODUCER_SECONDS = 60.0
SHOWN = 40


@dataclass(slots=True)
class Report:
    """What came of a run."""

    line: dict[str, object]
    notes: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether anything was found."""
        return any(self.line[kind] for kind in totals(()))


async def run(
    seed: int,
    faults: int,
    *,
    mutant: str | None = None,
    until_found: bool = False,
    only: frozenset[str] = frozenset(),
) -> Report:
    """Do a run and return what came of it; `until_found` ends it with the first finding."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        async with fleet_in(Path(name), mutant) as fleet:
            plan = make(seed, faults, without=fleet.without, only=only)
            report = await _Run(plan, fleet, until_found).do()
    report.line["seconds"] = round(time.monotonic() - began, 1)
    report.line["seed"] = seed
    return report


class _Run:
    def __init__(self, plan: Plan, fleet: Fleet, until_found: bool) -> None:
        self._plan = plan
        self._fleet = fleet
        self._until_found = until_found
        self._producers = Producers(fleet)
        self._nemesis = Nemesis(fleet, self._producers)
        self._watch = Watch(fleet)
        self._found: list[Finding] = []
        self._notes = [f"left out, this host cannot do it: {kind}" for kind in sorted(fleet.without)]

    async def do(self) -> Report:
        self._fleet.start()
        await wait_until(self._all_work, within=START_SECONDS, what="API and workers")
        watching = asyncio.create_task(self._watch.run())
        try:
            await self._disturb()
            await self._nemesis.heal()
            if not self._enough():
                await self._calm()
            await self._stop_workers()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._watch.close()
            await self._producers.close()
        self._found += self._watch.findings
        self._found += [Finding(kind, what) for kind, what in self._producers.wrong]
        if not (self._until_found and self._found):
            await self._judge()
        return self._report()

    def _enough(self) -> bool:
        return self._until_found and bool(self._watch.findings)

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
        acting = asyncio.create_task(self._nemesis.run(self._plan.faults, began))
        while not acting.done() and not self._enough():
            await asyncio.wait([acting], timeout=1.0)
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
        if self._enough():
            for task in self._producing:
                task.cancel()

    async def _submit(self, job: Job, began: float) -> None:
        await asyncio.sleep(max(0.0, began + job.at - time.monotonic()))
        await self._producers.submit(job)

    async def _noise(self, noise: Noise, began: float) -> None:
        await asyncio.sleep(max(0.0, began + noise.at - time.monotonic()))
        await self._producers.disturb(noise)

    async def _calm(self) -> None:
        """Nothing goes wrong any more: everything accepted has to end."""
        _, late = await asyncio.wait(self._producing, timeout=PRODUCER_SECONDS)
        if late:
            self._found.append(Finding("stuck", f"{len(late)} submissions were not accepted in the calm", len(late)))
            for task in late:
                task.cancel()
        for task in self._producing:
            if task.done() and not task.cancelled() and (error := task.exception()):
                self._notes.append(f"a producer broke: {type(error).__name__}: {error}")
        # what lay on the stream alone may have gone with Redis: its producers send it again, as they must
        for job in self._plan.jobs:
            if job.straight:
                await self._producers.put(job)
                self._producers.accepted[job.name] = self._producers.straight[job.name]
        with suppress(AssertionError):
            await wait_until(self._all_ended, within=CALM_SECONDS, what="the end of all jobs")

    async def _all_ended(self) -> bool:
        await asyncio.sleep(0.2)
        connection = await asyncpg.connect(self._fleet.dsn)
        try:
            jobs = {r["job_id"]: r["status"] for r in await connection.fetch("SELECT job_id, status FROM jobs")}
            live = [s for s in jobs.values() if s in ("queued", "processing")]
        finally:
            await connection.close()
        if live or self._producers.accepted.keys() - jobs.keys():
            return self._enough()
        return await self._redis_is_quiet()

    async def _redis_is_quiet(self) -> bool:
        found = facts.Facts()
        await facts.read_redis(found, self._fleet.redis.url, STREAM, GROUP)
        return not (found.stream or found.delayed or found.pending)

    async def _stop_workers(self) -> None:
        stopped = await asyncio.gather(*(unit.stop() for unit in self._fleet.units))
        for unit, in_time in zip(self._fleet.units, stopped, strict=True):
            if not in_time:
                self._found.append(Finding("stuck", f"{unit.name} did not stop:\n{unit.log()}"))

    async def _judge(self) -> None:
        fleet = self._fleet
        found = await facts.read(fleet.dsn, fleet.redis.url, STREAM, GROUP, fleet.runs)
        known = {finding.what for finding in self._found}
        judged = checker.judge(
            found,
            self._producers.accepted,
            malformed=self._producers.malformed,
            kept_after_ms=fleet.emptied_ms,
            stream=STREAM,
            max_deliveries=MAX_DELIVERIES,
        )
        self._found += [finding for finding in judged if finding.what not in known]  # seen during the run already

    def _report(self) -> Report:
        notes = self._notes + [f"{f.kind}: {f.what}" for f in self._found[:SHOWN]]
        notes += [f"not done: {what}" for what in self._nemesis.failed]
        notes += [f"crash: {crash}" for unit in self._fleet.units for crash in unit.crashes]
        notes += [f"wrote {n} times: {what}" for unit in self._fleet.units for what, n in unit.errors().items()]
        notes.append(f"faults done: {self._nemesis.done}; looks: {self._watch.looks}")
        notes.append("lives: " + ", ".join(f"{unit.name} {unit.lives}" for unit in self._fleet.units))
        chunks = sum(len(job.chunks) for job in self._producers.accepted.values())
        faults = sum(self._nemesis.done.values())
        return Report({"faults": faults, "chunks": chunks, **totals(self._found)}, notes)
