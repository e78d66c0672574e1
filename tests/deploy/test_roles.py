"""The roles' own hygiene: documented variables, and a play that stops before it changes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.deploy.ansible import PROJECT

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


@pytest.mark.parametrize("role", ROLES)
def test_argument_specs_say_the_defaults(role: str) -> None:
    """Every default that is no expression is in the specification, and is of the type that stands there."""
    defaults = keys(PROJECT / "roles" / role / "defaults/main.yml")
    options = keys(PROJECT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    literal = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert {name: option["default"] for name, option in options.items() if "default" in option} == literal
    types = {name: {"type": option["type"]} for name, option in options.items()}
    assert ArgumentSpecValidator(types).validate(literal).error_messages == []


def test_the_seeds_files_are_there() -> None:
    """E-06, X-44: tasks and templates under the seed's names."""
    role = PROJECT / "roles/orchestrator_workers"
    tasks = ("main", "01-worker-pool", "02-job-tracker", "03-processor", "04-validation")
    templates = ("workers/worker_pool.py", "workers/lightrag_processor.py", "services/job_tracker.py")
    assert all((role / "tasks" / f"{name}.yml").is_file() for name in tasks)
    assert all((role / "templates" / f"{name}.j2").is_file() for name in templates)
