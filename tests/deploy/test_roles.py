"""The roles' own hygiene: documented variables, and a play that stops before it changes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.ansible import PROJECT, play

ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir() if path.is_dir())


def keys(path: Path) -> Any:
    """Return what a YAML file holds."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", ROLES)
def test_argument_specs_and_defaults_list_the_same_variables(role: str) -> None:
    """X-44: nothing undocumented, nothing documented that is not there."""
    defaults = set(keys(PROJECT / "roles" / role / "defaults/main.yml"))
    specs = keys(PROJECT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    assert set(specs["main"]["options"]) == defaults


def test_the_seeds_files_are_there() -> None:
    """E-06, X-44: tasks and templates under the seed's names."""
    role = PROJECT / "roles/orchestrator_workers"
    tasks = ("main", "01-worker-pool", "02-job-tracker", "03-processor", "04-validation")
    templates = ("workers/worker_pool.py", "workers/lightrag_processor.py", "services/job_tracker.py")
    assert all((role / "tasks" / f"{name}.yml").is_file() for name in tasks)
    assert all((role / "templates" / f"{name}.j2").is_file() for name in templates)


CHAT = {"name": "chat", "handler": "noop", "source": "redis_stream", "stream": "chat", "group": "g"}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"worker_pool_size": 0}, "worker_pool_size"),
        ({"worker_batch_size": "many"}, "orchestrator_workers_batch"),
        ({"orchestrator_workers_lease_seconds": 5}, "orchestrator_workers_lease_seconds"),
        ({"orchestrator_workers_read_block_seconds": 10}, "orchestrator_workers_read_block_seconds"),
        ({"orchestrator_worker_types": [{"name": "x", "handler": "nonsense", "stream": "s", "group": "g"}]}, "handler"),
        ({"orchestrator_worker_types": [{"name": "x", "handler": "noop", "group": "g"}]}, "orchestrator_worker_types"),
        ({"orchestrator_worker_types": [{**CHAT, "source": "carrier_pigeon"}]}, "orchestrator.sources"),
        (
            {
                "orchestrator_worker_types": [CHAT],
                "orchestrator_base_source_credentials": [{"type": "cat", "name": "source-url", "value": "x"}],
            },
            "orchestrator_base_source_credentials",
        ),
        ({"orchestrator_base_api_keys": []}, "orchestrator_base_api_keys"),
    ],
)
def test_bad_group_vars_stop_the_play_before_anything_changes(variables: dict[str, Any], named: str) -> None:
    """The message names the variable, and no task has changed anything."""
    done = play("tests/deploy/preflight.yml", {"orchestrator_base_secure_logging": False, **variables})
    assert done.returncode != 0
    assert named in done.stdout
    assert "changed=0" in done.stdout


def test_good_group_vars_pass_the_preflight() -> None:
    """The same play with the defaults goes through."""
    done = play("tests/deploy/preflight.yml", {})
    assert done.returncode == 0, done.stdout[-2000:]
