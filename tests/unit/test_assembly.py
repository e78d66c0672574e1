"""What settings name is found, or named as missing in the words of the settings."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from orchestrator.assembly import make_handler, make_source
from orchestrator.errors import SettingsError
from orchestrator.handlers.base import HandlerSetup
from orchestrator.handlers.noop import NoopHandler
from orchestrator.settings import JobTrackerSettings, WorkerTypeSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.worker import Worker

EXTRAS = {"bullmq": "bullmq", "sqs": "aiobotocore", "mongodb": "bson", "surrealdb": "surrealdb"}
"""Source -> the package that it needs first."""


@pytest.mark.parametrize("name", ["base", "redis_client", "carrier_pigeon"])
def test_a_module_that_makes_no_source_is_none(name: str, tmp_path: Path) -> None:
    """`source: base` was an AttributeError in the journal of a unit that was restarted for ever."""
    settings = WorkerTypeSettings(name="chat", handler="noop", source=name, stream="q")
    with pytest.raises(SettingsError, match=rf"types\['chat'\]: source '{name}': there is none of that name"):
        make_source(settings, Credentials(tmp_path))


@pytest.mark.parametrize("name", ["base", "nonsense"])
def test_a_module_that_makes_no_handler_is_none(name: str, tmp_path: Path) -> None:
    """The same for what does the work."""
    settings = WorkerTypeSettings(name="chat", handler=name, stream="q", group="g")
    with pytest.raises(SettingsError, match=rf"types\['chat'\]: handler '{name}': there is none of that name"):
        make_handler(settings, HandlerSetup("chat", {}, tmp_path, Credentials(tmp_path)))


@pytest.mark.parametrize(("source", "package"), EXTRAS.items())
async def test_without_its_extra_a_type_stops_at_start_with_the_name_to_install(
    source: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is waited for: it was found only after PostgreSQL had answered, and until then the status line
    named PostgreSQL. Other types are not concerned: nothing else imports the package.
    """
    for name in [name for name in sys.modules if name.startswith((f"orchestrator.sources.{source}", f"{package}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    settings = WorkerTypeSettings(name="chat", handler="noop", source=source, stream="q")
    worker = Worker(settings, JobTrackerSettings(), host="h", handler=NoopHandler())
    monkeypatch.setattr("orchestrator.worker.until_open", lambda act: pytest.fail("waits for PostgreSQL"))
    for credential in ("postgres-dsn", "redis-url"):
        (tmp_path / credential).write_text("nowhere")
    async with AsyncExitStack() as stack:
        with pytest.raises(SettingsError, match=rf"package {package}.*; install orchestrator-workers\[{source}\]"):
            await worker.open(stack, Credentials(tmp_path))
