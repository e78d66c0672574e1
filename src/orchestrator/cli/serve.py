"""The processes that systemd runs: worker, supervisor, api, models."""

from __future__ import annotations

import gc
import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from orchestrator.cli.options import ETC, CredentialsDir, SettingsDir
from orchestrator.settings.credentials import Credentials

COLLECT_AFTER = 20_000
"""Objects, more than have gone, before garbage is looked for. The some thousand objects of a batch go by themselves;
with Python's own 700 they were gone through again and again, for a tenth of what a worker costs."""


def worker(
    worker_type: Annotated[str, typer.Argument(help="Worker type to run.", metavar="TYPE")],
    settings: SettingsDir = ETC,
    credentials: CredentialsDir = None,
) -> None:
    """Run the worker of one type until told to stop."""
    from orchestrator.worker import run

    _run(run(worker_type, settings, Credentials.given(credentials)))


def supervisor(settings: SettingsDir = ETC, credentials: CredentialsDir = None) -> None:
    """Run the pulse of all worker types on this host."""
    from orchestrator.supervisor import run

    _run(run(settings, Credentials.given(credentials)))


def api(settings: SettingsDir = ETC, credentials: CredentialsDir = None) -> None:
    """Run the API."""
    from orchestrator.api.serve import serve

    _run(serve(settings, Credentials.given(credentials)))


def models(settings: SettingsDir = ETC) -> None:
    """Run the lab's model server: rules and MiniLM, no real language model."""
    from orchestrator.models.serve import serve

    _run(serve(settings))


def _run(process: Coroutine[Any, Any, None]) -> None:
    import uvloop

    from orchestrator import logs, systemd

    logs.set_up(sys.stderr, priorities=systemd.under_journal())
    gc.collect()
    gc.freeze()  # what is imported stays: it is never gone through again
    gc.set_threshold(COLLECT_AFTER)
    uvloop.run(process)
