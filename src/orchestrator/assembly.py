"""Find the parts that settings name: a type's source and its handler are modules."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from orchestrator.errors import SettingsError
from orchestrator.handlers.base import Handler, HandlerSetup
from orchestrator.settings import WorkerTypeSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.sources.base import Source, SourceSetup


def make_handler(settings: WorkerTypeSettings, setup: HandlerSetup) -> Handler:
    """Return the type's handler. Raises SettingsError when there is none of that name, or its extra is missing."""
    handler: Handler = _made(settings, "handler", settings.handler, setup)
    return handler


def make_source(settings: WorkerTypeSettings, credentials: Credentials) -> Source:
    """Return the type's source, not opened yet.

    Raises SettingsError when there is none of that name, its extra is missing, or an option is wrong; CredentialError.
    """
    setup = SourceSetup(
        worker_type=settings.name,
        queue=settings.stream,
        group=settings.group,
        options=settings.source_options,
        lease_seconds=settings.lease_seconds,
        read_block_seconds=settings.read_block_seconds,
        credentials=credentials,
    )
    source: Source = _made(settings, "source", settings.source, setup)
    return source


def _made(settings: WorkerTypeSettings, kind: str, name: str, setup: HandlerSetup | SourceSetup) -> Any:
    """Return what the module of that name makes; it imports what it needs at its top, or as it makes it."""
    module = f"orchestrator.{kind}s.{name}"
    where = f"types[{settings.name!r}]: {kind} {name!r}"
    try:
        found = import_module(module)
        if not hasattr(found, "create"):
            raise SettingsError(f"{where}: there is none of that name, only a module that helps the others")
        return found.create(setup)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise SettingsError(f"{where}: there is none of that name") from error
        needed = f"it needs the Python package {error.name}; install orchestrator-workers[{name}]"
        raise SettingsError(f"{where}: {needed}") from error
