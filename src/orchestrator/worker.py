"""The worker process: one worker type, composed from settings and credentials. Nothing imports this but the CLI."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

from orchestrator import __version__, systemd
from orchestrator.announcements import Announcements
from orchestrator.assembly import make_handler, make_source
from orchestrator.errors import DependencyError, RefusedError
from orchestrator.events.log import EventLog
from orchestrator.handlers.base import Handler, HandlerSetup
from orchestrator.ledger import Ledger
from orchestrator.ledger.obstacles import Obstacle
from orchestrator.pool.pool import FINAL_FLUSH_SECONDS, Pool
from orchestrator.settings import JobTrackerSettings, WorkerPoolSettings, WorkerTypeSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.settings.load import load
from orchestrator.sources.base import Foreign
from orchestrator.sources.redis_stream import RedisStreamSource, connect
from orchestrator.stream_keeper import StreamKeeper
from orchestrator.tasks import end, within
from orchestrator.tracker.hold import Hold
from orchestrator.tracker.reconcile import Reconciler
from orchestrator.tracker.redis_view import RedisView
from orchestrator.tracker.redrive import Redrive
from orchestrator.tracker.tracker import JobTracker

log = logging.getLogger("orchestrator.workers")

T = TypeVar("T")
RETRY_SECONDS = 2.0
REDRIVE_SECONDS = 2.0
HOLD_SECONDS = 0.5
"""How often pauses are looked at: a resumed type goes on within a second."""
SLACK_SECONDS = 1.0
GOODBYE_SECONDS = 2.0
CLOSE_SECONDS = 1.0
"""Of each connection. All that follows the grace period fits into the 15 s that systemd gives beyond it."""


async def run(worker_type: str, settings_dir: Path, credentials: Credentials) -> None:
    """Run one worker type until SIGTERM or SIGINT, then drain. Raises SettingsError and CredentialError at once."""
    pool_settings = load(settings_dir / "workers" / "worker_pool.py", WorkerPoolSettings)
    tracker_settings = load(settings_dir / "services" / "job_tracker.py", JobTrackerSettings)
    settings = pool_settings.for_type(worker_type)
    setup = HandlerSetup(worker_type, settings.options, settings_dir, credentials)
    async with AsyncExitStack() as stack:
        stop = _signals()
        worker = Worker(settings, tracker_settings, host=pool_settings.host, handler=make_handler(settings, setup))
        opened = asyncio.create_task(worker.open(stack, credentials))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((opened, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():  # told to stop while still waiting for Redis or PostgreSQL
            await end([opened])
            return
        opened.result()
        await worker.run(stopped)


class Worker:
    """The parts of one worker process and the loops that keep them."""

    def __init__(
        self, settings: WorkerTypeSettings, tracking: JobTrackerSettings, *, host: str, handler: Handler
    ) -> None:
        self._settings = settings
        self._tracking = tracking
        self._host = host
        self._handler = handler
        self._draining = False
        self.ledger: Ledger
        self.pool: Pool
        self._announcements: Announcements
        self._deaf = False
        self._told_obstacle = True  # perhaps: by a former life of ours
        self._keeper: StreamKeeper | None = None
        self._redrive: Redrive | None = None
        self._hold: Hold
        self._reconciler: Reconciler

    async def open(self, stack: AsyncExitStack, credentials: Credentials) -> None:
        """Connect to everything, in the order of need; whatever is away is waited for, and the status line says so.

        A source that cannot be made ends it before anything is waited for. Raises SettingsError and CredentialError.
        """
        source = make_source(self._settings, credentials)
        stack.push_async_callback(closed, source.close)
        name, stream = self._settings.name, self._settings.stream
        dsn, url = credentials.read("postgres-dsn"), credentials.read("redis-url")
        self.ledger = await until_open(lambda: Ledger.open(dsn, connections=12, name=f"orchestrator {name}"))
        stack.push_async_callback(closed, self.ledger.close)
        client = connect(url, read_block_seconds=self._settings.read_block_seconds)
        stack.push_async_callback(closed, client.aclose)
        view = RedisView(client, self._tracking.job_status_ttl_seconds)
        foreign = not self._settings.own_queue
        tracker = JobTracker(
            self.ledger, view, worker_type=name, queue=stream, job_type=self._settings.job_type, foreign=foreign
        )
        if isinstance(source, RedisStreamSource):
            self._keeper = StreamKeeper(
                self._settings, self._tracking, ledger=self.ledger, client=client, source=source
            )
        if foreign and isinstance(source, Foreign):
            self._redrive = Redrive(self.ledger, source, name, stream)
        self._reconciler = Reconciler(self.ledger, source, view, worker_type=name, queue=stream, foreign=foreign)
        self._hold = Hold(self.ledger, worker_type=name, queue=stream)
        await self._until_open(self._hold.refresh)
        await self._until_open(self._handler.open)
        stack.push_async_callback(self._handler.close)
        self._announcements = Announcements(self.ledger.workers.announce)
        self.pool = Pool(
            self._settings,
            host=self._host,
            source=source,
            tracker=tracker,
            handler=self._handler,
            announce=self._announcements.add,
            held_back=self._hold,
        )
        await self._until_open(self.pool.open)
        if (keeper := self._keeper) is not None:
            await self._until_open(lambda: keeper.retire(self._host, self.pool.consumers))
        await self._until_open(self._beat)  # what is claimed before that counts as of a former life, which is gone

    async def _until_open(self, act: Callable[[], Awaitable[None]]) -> None:
        await until_open(act, tell=self._tell_obstacle)

    async def _tell_obstacle(self, error: DependencyError | None) -> None:
        """Write what keeps us from work, for those who wait for it; None: nothing does any more."""
        name = self._settings.name
        if error is not None:
            found = Obstacle(host=self._host, what=str(error), credentials=isinstance(error, RefusedError))
            await self.ledger.obstacles.put(name, found)
        elif self._told_obstacle:
            await self.ledger.obstacles.remove(name, self._host)
        self._told_obstacle = error is not None

    async def run(self, stopped: asyncio.Task[bool]) -> None:
        """Work until `stopped` is done, and drain. A server that is silent then is not waited for: leases lapse."""
        stopped.add_done_callback(lambda _: self._begin_drain())
        loops = [
            asyncio.create_task(every(self._settings.heartbeat_seconds, self._beat)),
            asyncio.create_task(every(self._settings.health_check_interval_seconds, self._check_health)),
            asyncio.create_task(every(HOLD_SECONDS, self._hold.refresh)),
            asyncio.create_task(every(self._tracking.reconcile_interval_seconds, self._trim)),
            asyncio.create_task(self._keep_reconciling()),
            asyncio.create_task(self._watchdog()),
        ]
        if self._keeper is not None:
            loops.append(asyncio.create_task(self._keeper.run()))
        if self._redrive is not None:
            loops.append(asyncio.create_task(every(REDRIVE_SECONDS, self._redrive.run_once)))
        working = asyncio.create_task(self.pool.run())
        systemd.notify("READY=1")
        log.info("worker ready", extra={"worker_type": self._settings.name, "slots": self._settings.size})
        try:
            await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
            budget = self._settings.grace_period_seconds + FINAL_FLUSH_SECONDS + SLACK_SECONDS
            await asyncio.wait((working,), timeout=budget)
            if working.done():
                working.result()
        finally:
            await end([working, *loops])
            await self._say_goodbye()

    def _begin_drain(self) -> None:
        self._draining = True
        systemd.notify("STOPPING=1\nSTATUS=draining")
        self.pool.stop()

    async def _say_goodbye(self) -> None:
        try:
            await within(GOODBYE_SECONDS, self._announcements.tell())
            await within(GOODBYE_SECONDS, self.ledger.workers.stopped(self.pool.consumers))
        except (DependencyError, TimeoutError) as error:
            log.warning("the ledger was not told of our end", extra={"error": str(error) or "PostgreSQL is silent"})

    async def _beat(self) -> None:
        pulses = self.pool.pulses()
        await self.ledger.workers.seen(self._host, self._settings.name, os.getpid(), __version__, pulses)
        await self._announcements.tell()
        await self._tell_obstacle(self.pool.obstacle)
        in_hand, rate = sum(p.busy for p in pulses), sum(p.chunks_per_second for p in pulses)
        line = f"{len(pulses)} slots, {in_hand} chunks in hand, {rate:.1f} chunks/s"
        systemd.status(f"draining: {line}" if self._draining else line)

    async def _check_health(self) -> None:
        """Look whether the loops turn and work reaches us; if not the watchdog is fed no more, and we are restarted."""
        if self._keeper is not None:
            self._deaf = not self.pool.hears(await self._keeper.waiting())
            if self._deaf:
                log.error("entries wait, there is room, and none is delivered: waiting to be restarted")
        if standing := self.pool.standing():
            steps = ", ".join({h.doing for h in self.pool.held()})
            log.error(
                "the pool does not move: waiting to be restarted", extra={"what": ", ".join(standing), "steps": steps}
            )

    async def _keep_reconciling(self) -> None:
        while True:
            await attempt(self._reconcile)
            suspicious = self._reconciler.suspicious
            await asyncio.sleep(1.0 if suspicious else self._tracking.reconcile_interval_seconds)

    async def _reconcile(self) -> None:
        await self._reconciler.run_once(
            lease_seconds=self._settings.lease_seconds, quiet_seconds=self._tracking.open_job_quiet_seconds
        )

    async def _trim(self) -> None:
        if gone := await EventLog(self.ledger.database).trim(self._tracking.event_retention_seconds):
            log.info("events past their retention dropped", extra={"events": gone})

    async def _watchdog(self) -> None:
        interval = systemd.watchdog_interval()
        while interval is not None:
            if self.pool.alive() and not self._deaf:
                systemd.notify("WATCHDOG=1")
            await asyncio.sleep(interval)


async def until_open(
    act: Callable[[], Awaitable[T]], tell: Callable[[DependencyError], Awaitable[None]] | None = None
) -> T:
    """Return what `act` returns; try again while something it needs does not answer, and say so in the status."""
    while True:
        try:
            return await act()
        except DependencyError as error:
            log.warning("waiting", extra={"error": str(error)})
            systemd.status(f"waiting: {error}")
            if tell is not None:
                with suppress(DependencyError):  # PostgreSQL is away: nobody can be told, and nobody can ask
                    await tell(error)
            await asyncio.sleep(RETRY_SECONDS)


async def closed(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Close a connection; one whose server is silent is left."""
    with suppress(TimeoutError):
        await within(CLOSE_SECONDS, close())


async def every(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    """Do `act` now and at each interval."""
    while True:
        await attempt(act)
        await asyncio.sleep(seconds)


async def attempt(act: Callable[[], Awaitable[object]]) -> None:
    """Do `act`; what fails is logged and no more: the loop around it has to go on (X-09)."""
    try:
        await act()
    except DependencyError as error:
        log.warning("will try again", extra={"error": str(error)})
    except Exception:
        log.exception("a loop broke; it goes on")


def _signals() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets, at once and any number of times (X-04)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
