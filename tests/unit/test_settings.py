"""Settings stop the program with the key's name; a settings file holds literals and nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CredentialError, SettingsError
from orchestrator.settings import ApiSettings, JobTrackerSettings, LightRAGSettings, WorkerPoolSettings
from orchestrator.settings.__main__ import main as check_settings
from orchestrator.settings.credentials import Credentials
from orchestrator.settings.load import load, read

LIGHTRAG = {"handler": "lightrag", "stream": "shield:ingestion_queue", "group": "lightrag-workers"}


def pool(**changes: Any) -> WorkerPoolSettings:
    """Return pool settings with the seed's defaults."""
    return WorkerPoolSettings(**{"host": "h", "types": {"lightrag": LIGHTRAG}, **changes})


def test_the_seeds_defaults() -> None:
    """E-07 to E-16."""
    lightrag = pool().for_type("lightrag")
    assert (lightrag.size, lightrag.batch, lightrag.retry_attempts, lightrag.timeout_seconds) == (4, 10, 3, 300.0)
    assert (lightrag.health_check_interval_seconds, lightrag.max_tasks_per_child) == (30.0, 1000)
    assert (lightrag.grace_period_seconds, JobTrackerSettings().job_status_ttl_seconds) == (60.0, 3600)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"size": 0}, "size"),
        ({"size": True}, "size"),
        ({"size": "4"}, "size"),
        ({"batch": 0}, "batch"),
        ({"retry_attempts": 0}, "retry_attempts"),
        ({"max_deliveries": 2}, "max_deliveries"),
        ({"read_block_seconds": 10}, "read_block_seconds"),
        ({"lease_seconds": 20}, "lease_seconds"),
        ({"host": "a b"}, "host"),
        ({"types": {}}, "types"),
        ({"types": {"lightrag": {**LIGHTRAG, "size": 0}}}, "types['lightrag']: size"),
        ({"types": {"lightrag": {**LIGHTRAG, "sise": 1}}}, "sise"),
        ({"types": {"Light RAG": LIGHTRAG}}, "name"),
        ({"types": {"x": {"handler": "noop", "stream": "s"}}}, "group"),
    ],
)
def test_x06_a_wrong_or_contradicting_value_is_named(changes: dict[str, Any], key: str) -> None:
    """The seed's block, timeouts and grace contradicted each other; here the load stops and says which."""
    with pytest.raises(SettingsError) as caught:
        pool(**changes)
    assert key in str(caught.value)


def test_a_type_overrides_the_pools_sizing() -> None:
    """Types are data."""
    settings = pool(size=2, types={"a": {**LIGHTRAG, "size": 8}, "b": LIGHTRAG})
    assert (settings.for_type("a").size, settings.for_type("b").size) == (8, 2)
    with pytest.raises(SettingsError, match="no worker type 'c'; known types: a, b"):
        settings.for_type("c")


def test_wrong_values_of_the_other_modules() -> None:
    """Each names its key."""
    with pytest.raises(SettingsError, match="port"):
        ApiSettings(port=70000)
    with pytest.raises(SettingsError, match="llm_base_url"):
        LightRAGSettings(llm_base_url="ftp://x")
    with pytest.raises(SettingsError, match="job_status_ttl_seconds"):
        JobTrackerSettings(job_status_ttl_seconds=0)


def write(directory: Path, text: str) -> Path:
    """Write a settings module."""
    path = directory / "module.py"
    path.write_text(text, encoding="utf-8")
    return path


HEAD = '"""Managed."""\n\nfrom orchestrator.settings import ApiSettings\n\n'


def test_a_rendered_module_is_read(tmp_path: Path) -> None:
    """Docstring, import, one call with literals."""
    assert load(write(tmp_path, HEAD + "settings = ApiSettings(port=8001)\n"), ApiSettings).port == 8001


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "settings = ApiSettings(port=__import__('os').getpid())\n", "port must be a literal"),
        (HEAD + "def f(): ...\nsettings = ApiSettings()\n", "module.py: line 5: only"),
        (HEAD + "import os\nsettings = ApiSettings()\n", "module.py: line 5: only"),
        (HEAD + "settings = ApiSettings(prot=1)\n", "prot: no such key of ApiSettings; known keys: backlog"),
        (HEAD + "settings = ApiSettings(port=1, port=2)\n", "port: is given twice"),
        (HEAD.replace("Api", "WorkerPool") + "settings = WorkerPoolSettings(host='h')\n", "types: WorkerPoolSettings"),
        (HEAD + "settings = ApiSettings(1)\n", "key=value only"),
        (HEAD + "settings = ApiSettings(**{})\n", "key=value only"),
        (HEAD + "settings = open('x')\n", "key=value only"),
        (HEAD + "settings = load(port=1)\n", "load is no settings class"),
        (HEAD, "has no 'settings"),
        ("settings = (", "is not Python"),
    ],
)
def test_x42_a_settings_file_can_hold_no_behaviour(tmp_path: Path, text: str, says: str) -> None:
    """The seed put Jinja into Python; here a template can only fill in literals, and the file is never executed."""
    with pytest.raises(SettingsError) as caught:
        read(write(tmp_path, text))
    assert says in str(caught.value) and str(tmp_path) in str(caught.value)


def test_the_wrong_module_and_no_module_are_named(tmp_path: Path) -> None:
    """The path is in the message."""
    path = write(tmp_path, HEAD + "settings = ApiSettings()\n")
    with pytest.raises(SettingsError, match="holds ApiSettings, expected JobTrackerSettings"):
        load(path, JobTrackerSettings)
    with pytest.raises(SettingsError, match="cannot be read"):
        read(tmp_path / "absent.py")


def test_credentials_are_files_and_errors_hold_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, empty and unreadable credentials are named."""
    (tmp_path / "redis-url").write_text("redis://u:secret@h\n")
    (tmp_path / "empty").write_text("\n")
    credentials = Credentials.given(tmp_path)
    assert credentials.read("redis-url") == "redis://u:secret@h"
    assert credentials.find("absent") is None
    for name in ("absent", "empty"):
        with pytest.raises(CredentialError, match=name):
            credentials.read(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(CredentialError, match="LoadCredential"):
        Credentials.given()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Credentials.given().directory == tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("port=0", ""),
        ("port=-1", "orchestrator_api_port must be between 0 and 65535, got -1\n"),
        ("port=1, port=2", "orchestrator_api_port: is given twice\n"),
        ("host=''", "the_host must be an address to listen on, got ''\n"),
        ("sse_max_streams=0", "orchestrator_api_options.sse_max_streams must be >= 1, got 0\n"),
        ("port=", "orchestrator_api_*: is not Python: invalid syntax (<unknown>, line 5)\n"),
    ],
)
def test_a_wrong_setting_is_called_by_the_variable_it_came_from(arguments: str, says: str) -> None:
    """Before a deployment only the controller can check, and its operator knows variables, not keys."""
    entry = {
        "module": HEAD + f"settings = ApiSettings({arguments})\n",
        "prefix": "orchestrator_api_",
        "names": {"host": "the_host"},
        "options": ["orchestrator_api_options", ["sse_max_streams"]],
    }
    heard = io.StringIO()
    code = check_settings(
        io.StringIO(json.dumps([{**entry, "module": HEAD + "settings = ApiSettings()\n"}, entry])), heard
    )
    assert (code, heard.getvalue()) == (1 if says else 0, says)
