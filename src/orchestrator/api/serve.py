"""The API process: composed from settings and credentials. Nothing imports this but the CLI."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import redis.asyncio as redis
import uvicorn
from fastapi import FastAPI

from orchestrator import systemd
from orchestrator.api.app import create_app
from orchestrator.api.auth import KeyRing
from orchestrator.api.backlog import Backlog
from orchestrator.api.deps import WORKER_TYPE, Deps
from orchestrator.api.dispatch import Dispatch
from orchestrator.api.engine import configured_engine
from orchestrator.errors import DependencyError, OrchestratorError
from orchestrator.events.follow import Follower
from orchestrator.events.log import EventLog
from orchestrator.ledger import Ledger
from orchestrator.settings import ApiSettings, JobTrackerSettings, WorkerPoolSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.settings.load import load
from orchestrator.sources.redis_client import connect
from orchestrator.tracker.redis_view import RedisView
from orchestrator.tracker.relay import Relay

log = logging.getLogger("orchestrator.api")

CONNECTIONS = 8
GRACE_SECONDS = 4  # for requests in flight; streams are ended at once
RETRY_SECONDS = 2.0
BACKLOG = 1024


class Server(uvicorn.Server):
    """uvicorn, with the signals left to us: it would end open streams only after a timeout."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve(settings_dir: Path, credentials: Credentials) -> None:
    """Serve until told to stop, then end streams, finish requests and close.

    Raises SettingsError, CredentialError, and OrchestratorError when the address is taken, at once.
    """
    settings = load(settings_dir / "api" / "jobs.py", ApiSettings)
    pool = load(settings_dir / "workers" / "worker_pool.py", WorkerPoolSettings)
    tracking = load(settings_dir / "services" / "job_tracker.py", JobTrackerSettings)
    keys = KeyRing.parse(credentials.read("api-keys"))
    dsn, url = credentials.read("postgres-dsn"), credentials.read("redis-url")
    stop = _signals()
    async with AsyncExitStack() as stack:
        ledger = await _open(dsn, stop)
        if ledger is None:
            return
        stack.push_async_callback(ledger.close)
        client: redis.Redis = connect(url)
        stack.push_async_callback(client.aclose)
        engine = configured_engine(settings_dir, credentials)
        if engine is not None:
            stack.push_async_callback(engine.close)
        view = RedisView(client, tracking.job_status_ttl_seconds)
        dispatch = Dispatch(Relay(ledger, client, window=tracking.dispatch_window), view)
        stack.push_async_callback(dispatch.close)
        follower = Follower(EventLog(ledger.database))
        deps = Deps(
            settings=settings,
            types={name: pool.for_type(name) for name in pool.types},
            keys=keys,
            ledger=ledger,
            backlog=Backlog(ledger, WORKER_TYPE, settings.max_backlog_chunks),
            redis=client,
            view=view,
            dispatch=dispatch,
            follower=follower,
            engine=engine,
        )
        listener = stack.enter_context(listen(settings.host, settings.port))
        await run(create_app(deps), listener, follower, stop)


async def run(app: FastAPI, listener: socket.socket, follower: Follower, stop: asyncio.Event) -> None:
    """Serve the app on a socket until `stop` is set."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    watchdog = asyncio.create_task(_watchdog())
    host, port = listener.getsockname()[:2]
    log.info("api ready", extra={"host": host, "port": port})
    systemd.notify(f"READY=1\nSTATUS=listening on {host} port {port}")
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        systemd.notify("STOPPING=1\nSTATUS=ending streams and requests")
        follower.close()
        server.should_exit = True
        await serving
    finally:
        for task in (stopping, watchdog):
            task.cancel()
        await asyncio.gather(stopping, watchdog, return_exceptions=True)


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Give a listening socket; port 0 chooses a free one. Raises OrchestratorError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        advice = "stop what listens there, or set host and port in api/jobs.py"
        raise OrchestratorError(f"cannot listen on {host} port {port}: {error.strerror}; {advice}") from error
    with listener:
        # asyncio does so only for sockets whose protocol number is set; without it each answer waits 40 ms for an ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


async def _open(dsn: str, stop: asyncio.Event) -> Ledger | None:
    """Return the ledger once PostgreSQL answers, None when told to stop before."""
    while not stop.is_set():
        try:
            return await Ledger.open(dsn, connections=CONNECTIONS, name="orchestrator-api")
        except DependencyError as error:
            log.warning("waiting", extra={"error": str(error)})
            systemd.status(f"waiting: {error}")
        try:
            await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
        except TimeoutError:
            continue
    return None


async def _watchdog() -> None:
    """Tell systemd that the loop goes round."""
    interval = systemd.watchdog_interval()
    while interval is not None:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(interval)


def _signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
