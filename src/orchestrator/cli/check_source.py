"""`orchestrator check-source`: prove the way to a type's queue."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.assembly import make_source
from orchestrator.cli.options import ETC, Format, Output, SettingsDir
from orchestrator.cli.output import emit, say
from orchestrator.errors import SettingsError
from orchestrator.settings import WorkerPoolSettings, WorkerTypeSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.settings.load import load
from orchestrator.sources.base import Foreign


def check_source(
    worker_type: Annotated[str, typer.Argument(help="Worker type, of a queue that is not ours.", metavar="TYPE")],
    settings: SettingsDir = ETC,
    credentials: Annotated[
        Path | None, typer.Option(help="Directory of the credentials; default: the type's own.", metavar="DIR")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Ask a type's queue how deep it is and try a claim that takes nothing; exits 1 when that fails."""
    kind = load(settings / "workers" / "worker_pool.py", WorkerPoolSettings).for_type(worker_type)
    if kind.own_queue:
        raise SettingsError(f"types[{worker_type!r}]: its queue is ours; use `orchestrator consumers`")
    depth, found = asyncio.run(_check(kind, Credentials.given(credentials or _own(worker_type, settings))))
    if output is Format.JSON:
        emit({"type": worker_type, "source": kind.source, "queue": kind.stream, "depth": depth, "found": found})
    else:
        say(f"{worker_type}: {found}; depth {depth}")


def _own(worker_type: str, settings: Path) -> Path:
    """Return where the credentials are that the type's unit loads: its own, or those that all workers have."""
    own = settings / "credentials" / "sources" / worker_type
    return own if own.is_dir() else settings / "credentials" / "worker"


async def _check(kind: WorkerTypeSettings, credentials: Credentials) -> tuple[int, str]:
    source = make_source(kind, credentials)
    assert isinstance(source, Foreign)
    try:
        await source.open([])
        found = await source.check()
        return await source.depth(), found
    finally:
        await source.close()
