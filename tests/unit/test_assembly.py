"""What settings name is found, or named as missing in the words of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.assembly import make_handler, make_source
from orchestrator.errors import SettingsError
from orchestrator.handlers.base import HandlerSetup
from orchestrator.settings import WorkerTypeSettings
from orchestrator.settings.credentials import Credentials


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
