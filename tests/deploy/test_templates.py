"""The rendered settings modules and units, with the roles' defaults and with every value changed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.handlers.lightrag.storages import FAMILIES
from orchestrator.settings import (
    ApiSettings,
    JobTrackerSettings,
    LightRAGSettings,
    ModelsSettings,
    WorkerPoolSettings,
)
from orchestrator.settings.load import load
from tests.deploy.ansible import PASSWORD, render

KNOWN_BY_254 = re.compile(r"Unknown key( name)? '(RestartSteps|RestartMaxDelaySec)'")

SEED: dict[str, Any] = {
    "worker_pool_size": 7,
    "worker_batch_size": 3,
    "worker_retry_attempts": 5,
    "worker_timeout_seconds": 30,
    "worker_health_check_interval": 11,
    "worker_max_tasks_per_child": 17,
    "worker_graceful_shutdown_timeout": 21,
    "redis_stream_ingestion": "other:queue",
    "redis_consumer_group_workers": 'other\'s "group"',
    "job_status_ttl": 99,
    "llm_base_url": "https://models.example/v1",
    "orchestrator_workers_host": "hx-é",
    "orchestrator_workers_ip_address_allow": ["198.51.100.0/24", "localhost"],
    "orchestrator_workers_storage_options": {"QDRANT_URL": "http://198.51.100.9:6333", "quote": 'it\'s "x"'},
    "own": {"grace_period_seconds": 89.5, "ip_address_allow": ["198.51.100.7"]},  # of the type whose unit is rendered
    "orchestrator_api_port": 8123,
    "orchestrator_models_port": 9999,
    "orchestrator_worker_types": [
        {
            "name": "lightrag",
            "handler": "lightrag",
            "stream": "{{ redis_stream_ingestion }}",
            "group": "{{ redis_consumer_group_workers }}",
        },
        {
            "name": "chat",
            "handler": "noop",
            "source": "sqs",
            "stream": "chat",
            "size": 2,
            "source_options": {"region": "eu-central-1", "endpoint_url": "https://sqs.example"},
        },
    ],
    "orchestrator_base_source_credentials": [
        {"type": "lightrag", "name": "source-key", "value": "abcdefghijklmnopqrstuvwxyz"},
    ],
}


pytestmark = pytest.mark.timeout(300)  # rendering takes a while on a busy machine


@pytest.fixture(scope="module", params=["defaults", "changed"])
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Path]]:
    """Everything rendered with one of two sets of variables."""
    directory = tmp_path_factory.mktemp(request.param)
    program = directory / "app/current/bin/orchestrator"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    variables = SEED if request.param == "changed" else {}
    app = {"orchestrator_base_app_dir": str(directory / "app")}
    return request.param, render(directory / "rendered", {**variables, **app})


def test_the_pools_module_has_the_seeds_values(rendered: tuple[str, dict[str, Path]]) -> None:
    """E-07 to E-16: the seed's variable names in group_vars reach the settings."""
    kind, files = rendered
    pool = load(files["worker_pool.py"], WorkerPoolSettings)
    lightrag = pool.for_type("lightrag")
    found = (lightrag.size, lightrag.batch, lightrag.retry_attempts, lightrag.timeout_seconds)
    rest = (lightrag.health_check_interval_seconds, lightrag.max_tasks_per_child, lightrag.grace_period_seconds)
    ttl = load(files["job_tracker.py"], JobTrackerSettings).job_status_ttl_seconds
    if kind == "defaults":
        assert (*found, *rest, ttl) == (4, 10, 3, 300.0, 30.0, 1000, 60.0, 3600)
        assert (lightrag.stream, lightrag.group) == ("shield:ingestion_queue", "lightrag-workers")
    else:
        assert (*found, *rest, ttl) == (7, 3, 5, 30.0, 11.0, 17, 21.0, 99)
        assert (lightrag.stream, lightrag.group, pool.host) == ("other:queue", 'other\'s "group"', "hx-é")


def test_a_type_may_have_a_queue_that_is_not_ours(rendered: tuple[str, dict[str, Path]]) -> None:
    """Its source and options reach the settings; its secret comes by systemd alone."""
    kind, files = rendered
    unit = files["type.conf"].read_text(encoding="utf-8")
    credential = "LoadCredential=source-key:/etc/orchestrator/credentials/sources/lightrag/source-key"
    assert (credential in unit) is (kind == "changed")
    assert ("IPAddressAllow=198.51.100.7" in unit) is (kind == "changed")
    if kind == "changed":
        chat = load(files["worker_pool.py"], WorkerPoolSettings).for_type("chat")
        assert (chat.source, chat.stream, chat.own_queue, chat.size) == ("sqs", "chat", False, 2)
        assert chat.source_options["region"] == "eu-central-1"


def test_x42_values_with_quotes_come_through(rendered: tuple[str, dict[str, Path]]) -> None:
    """In the seed a value with a quote broke the module."""
    kind, files = rendered
    lightrag = load(files["lightrag_processor.py"], LightRAGSettings)
    api = load(files["jobs.py"], ApiSettings)
    models = load(files["models.py"], ModelsSettings)
    if kind == "defaults":
        assert (api.port, models.port, lightrag.storage_options) == (8000, 11434, {})
    else:
        assert (api.port, models.port) == (8123, 9999)
        assert lightrag.storage_options == SEED["orchestrator_workers_storage_options"]


def test_the_modules_are_typed_python(rendered: tuple[str, dict[str, Path]]) -> None:
    """Mypy strict over what is deployed, and Python itself can run it."""
    modules = [path for name, path in rendered[1].items() if name.endswith(".py")]
    for module in modules:
        command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(module)]
        checked = subprocess.run(command, capture_output=True, text=True, check=False, cwd=module.parent)
        assert checked.returncode == 0, checked.stdout
        subprocess.run([sys.executable, str(module)], check=True)


def test_no_secret_and_no_logic_in_what_is_rendered(rendered: tuple[str, dict[str, Path]]) -> None:
    """X-41: no password in a module or unit; each file says that it is managed."""
    for name, path in rendered[1].items():
        text = path.read_text(encoding="utf-8")
        if name != "roles.sql":
            assert "abcdefghijklmnop" not in text and PASSWORD not in text, name
        if name.endswith((".py", ".service", ".conf", ".slice")):
            assert "Ansible managed" in "\n".join(text.splitlines()[:3]), name


@pytest.mark.parametrize("unit", ["orchestrator-worker@.service", "orchestrator-api.service"])
def test_who_opens_lightrag_gets_the_secrets_of_every_storage(rendered: tuple[str, dict[str, Path]], unit: str) -> None:
    """The API had none: with its graph in Neo4j every query failed, and no worker could be given its password."""
    loaded = re.findall(r"^LoadCredential=([\w-]+):", rendered[1][unit].read_text(encoding="utf-8"), re.MULTILINE)
    assert {family.secret for family in FAMILIES if family.secret} <= set(loaded)


def test_x43_units_are_sound_and_hardened(rendered: tuple[str, dict[str, Path]]) -> None:
    """The exposure of each is small; the worker's is at most 1.5."""
    kind, files = rendered
    limits = {
        "orchestrator-worker@.service": 15,
        "orchestrator-workers.service": 15,
        "orchestrator-workers-recover.service": 15,
        "orchestrator-api.service": 25,
        "orchestrator-models.service": 15,
    }
    assert set(limits) == {name for name in files if name.endswith(".service")}
    for name, exposure in limits.items():
        command = ["systemd-analyze", "security", "--offline=true", f"--threshold={exposure}", str(files[name])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{kind} {name}: {done.stdout[-300:]}{done.stderr}"


def test_x43_systemd_finds_nothing_wrong_with_the_units(rendered: tuple[str, dict[str, Path]]) -> None:
    """A misspelt key is only a warning in the journal, and what it was to forbid stays allowed.

    The program they start is there, as on a host. A systemd before 254 does not know how to restart ever more slowly.
    """
    _, files = rendered
    drop_in = files["type.conf"].parent / "orchestrator-worker@lightrag.service.d/type.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_bytes(files["type.conf"].read_bytes())
    instance = files["orchestrator-worker@.service"].with_name("orchestrator-worker@lightrag.service")
    instance.write_bytes(files["orchestrator-worker@.service"].read_bytes())
    units = [str(path) for name, path in files.items() if name.endswith((".service", ".slice")) and "@." not in name]
    command = ["systemd-analyze", "verify", "--man=no", *units, str(instance)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if not KNOWN_BY_254.search(line)] == []
    with drop_in.open("a") as lines:
        lines.write("NoNewPrivilege=yes\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Unknown key 'NoNewPrivilege'" in done.stderr or "Unknown key name 'NoNewPrivilege'" in done.stderr


def test_x06_the_units_time_budget_holds(rendered: tuple[str, dict[str, Path]]) -> None:
    """TimeoutStopSec = grace + 15, so that systemd never kills a drain in the middle."""
    kind, files = rendered
    grace = 60 if kind == "defaults" else 21
    unit = files["orchestrator-worker@.service"].read_text(encoding="utf-8").splitlines()
    assert f"TimeoutStopSec={grace + 15}" in unit and "KillMode=mixed" in unit
    own = files["type.conf"].read_text(encoding="utf-8").splitlines()
    assert f"TimeoutStopSec={75 if kind == 'defaults' else 105}" in own  # a type may have a grace period of its own
    assert "Type=notify" in unit and "PartOf=orchestrator-workers.service" in unit


def test_users_of_redis_can_do_what_they_need_and_no_more(rendered: tuple[str, dict[str, Path]]) -> None:
    """Least privilege: the default user is off, passwords are hashes, keys are named."""
    kind, files = rendered
    stream = "shield:ingestion_queue" if kind == "defaults" else "other:queue"
    users = dict(line.split(" ", 2)[1:] for line in files["users.acl"].read_text(encoding="utf-8").splitlines() if line)
    assert users["default"].startswith("off")
    for name in ("worker", "api"):
        assert f"~{stream} " in users[name] and f"~{stream}:* " in users[name] and "~job:* " in users[name]
        assert " ~* " not in users[name] and "-@all" in users[name]
