"""site.yml stops before it changes anything when a variable is wrong, and names it: one play, a host a mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.ansible import SECRETS, run_playbook
from tests.deploy.tasks import tasks

pytestmark = pytest.mark.timeout(300)  # the play is the first test's, and a machine may be busy

CHAT = {"name": "chat", "handler": "noop", "source": "redis_stream", "stream": "chat", "group": "g"}
OTHERS = dict.fromkeys(("worker", "api", "cli"), "another-password")


def types(**changes: Any) -> dict[str, Any]:
    """Return variables with one worker type, changed."""
    return {"orchestrator_worker_types": [{**CHAT, **changes}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"worker_pool_size": 257}, "(worker_pool_size) must be a number >= 1 and <= 256, got 257"),
    ({"worker_pool_size": 4.5}, "'orchestrator_workers_pool_size' is of type float and we were unable to convert"),
    ({"worker_health_check_interval": 0}, "(worker_health_check_interval) must be a number >= 1"),
    ({"worker_max_tasks_per_child": -1}, "(worker_max_tasks_per_child) must be a number >= 0"),
    ({"orchestrator_workers_lease_seconds": 5}, "orchestrator_workers_lease_seconds must be >= 3 x heartbeat_seconds"),
    (types(handler="base"), "a handler that is a module of orchestrator.handlers which makes one"),
    (types(source="redis_client"), "a source that is a module of orchestrator.sources which makes one"),
    (types(stream="a b"), "redis_streams, redis_bullmq_queues: no blanks may be in the names of queues, got a b"),
    (types(size=0), "orchestrator_worker_types['chat']: size must be >= 1, got 0"),
    (types(batch=0), "orchestrator_worker_types['chat']: batch must be >= 1, got 0"),
    (types(lease_seconds=5), "orchestrator_worker_types['chat']: lease_seconds must be >= 3 x heartbeat_seconds (30)"),
    ({"orchestrator_worker_types": [CHAT, CHAT]}, "orchestrator_worker_types: each name must stand there once"),
    (
        {"orchestrator_base_source_credentials": [{"type": "cat", "name": "source-url", "value": "hidden"}]},
        "orchestrator_base_source_credentials: each entry needs the type",
    ),
    ({"orchestrator_base_api_keys": []}, "orchestrator_base_api_keys"),
    (
        {"orchestrator_workers_processor_options": {"max_gleanings": 1}},
        "orchestrator_workers_processor_options.max_gleanings: no such key of LightRAGSettings",
    ),
    ({"redis_passwords": OTHERS}, "redis_passwords.worker must be orchestrator_base_redis_passwords.worker"),
    ({"orchestrator_base_redis_port": 6380}, "redis_port must be orchestrator_base_redis_port"),
    ({"postgresql_port": 5433}, "postgresql_port must be orchestrator_base_postgresql_port"),
    ({"postgresql_passwords": {"owner": "it's short"}}, "postgresql_passwords.owner is missing, or not at least 16"),
    ({"postgresql_version": "15"}, "postgresql_pgvector: Debian 12 has no pgvector"),
]
RIGHT: dict[str, dict[str, Any]] = {
    "elsewhere": {
        "orchestrator_base_local_redis": False,
        "orchestrator_base_local_postgresql": False,
        "redis_passwords": OTHERS,
        "orchestrator_base_postgresql_port": 5433,
    },
    "whole": {
        "orchestrator_workers_pool_options": {"backoff_cap_seconds": 30},
        "orchestrator_workers_processor_options": {"max_gleaning": 1, "ephemeral_workspaces": ["canary", "drill"]},
        "orchestrator_workers_tracker_options": {"relay_interval_seconds": 0.2},
        "orchestrator_api_options": {"sse_heartbeat_seconds": 5},
        "orchestrator_worker_types": [
            {"name": name, "handler": "noop", "source": name, "stream": "q"} for name in ("bullmq", "sqs", "mongodb")
        ],
        "orchestrator_base_source_credentials": [{"type": "mongodb", "name": "source-url", "value": "hidden"}],
    },
}


@dataclass(frozen=True, slots=True)
class Played:
    """What the play said of each host."""

    done: subprocess.CompletedProcess[str]

    def failure(self, host: str) -> str:
        """Return why it failed, on one line; empty when it did not."""
        pattern = rf"^(?:fatal|failed): \[{host}[\] ].*?(?:\n\n|\Z)"
        found = re.findall(pattern, self.done.stdout, re.MULTILINE | re.DOTALL)
        return " ".join(" ".join(found).replace("''", "'").split())

    def recap(self, host: str) -> str:
        """Return the last line about it."""
        return next(line for line in self.done.stdout.splitlines() if re.match(rf"{host}\s+: ok=", line))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Run site.yml on this machine, which claims to be Debian 13, as one host for each set of variables.

    Only what runs with every tag is run: were a mistake not seen, nothing else would happen to this machine.
    """
    hosts = {f"wrong{number}": variables for number, (variables, _) in enumerate(WRONG)} | RIGHT
    common = {**SECRETS, "ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    facts = {"distribution": "Debian", "distribution_major_version": "13", "service_mgr": "systemd"}
    inventory = tmp_path_factory.mktemp("inventory") / "hosts.json"
    inventory.write_text(json.dumps({"orchestrators": {"hosts": hosts, "vars": common}}))
    extra = json.dumps({"ansible_facts": facts, "ansible_become": False})
    return Played(
        run_playbook(Path("site.yml"), "-i", str(inventory), "-e", extra, "--tags", "always", "--skip-tags", "facts")
    )


@pytest.mark.parametrize(("number", "named"), [(n, named) for n, (_, named) in enumerate(WRONG)])
def test_bad_group_vars_stop_the_play_before_anything_changes(played: Played, number: int, named: str) -> None:
    """The message names the variable as the operator wrote it, and nothing was changed."""
    said = played.failure(f"wrong{number}")
    assert named in said, said or played.done.stdout[-3000:]
    assert "hidden" not in said, "a secret is shown"
    assert "changed=0 " in played.recap(f"wrong{number}")


@pytest.mark.parametrize("host", RIGHT)
def test_good_group_vars_pass_the_preflight(played: Played, host: str) -> None:
    """Settings without a variable of their own, servers that are elsewhere, queues that are not ours."""
    assert played.failure(host) == ""
    assert {"changed=0", "failed=0"} <= set(played.recap(host).split())


def test_the_preflight_is_the_first_thing_of_the_play_and_the_only_place_that_stops_it() -> None:
    """A check in the middle of a role comes when half of the host has been changed.

    The format of PostgreSQL's passwords and pgvector on Debian 12 were checked after Redis had been installed.
    """
    steps = [t.values for t in tasks("playbooks/site.yml") if "tags" in t.values and "hosts" not in t.values]
    assert steps[1]["ansible.builtin.import_role"] == {"name": "orchestrator_base", "tasks_from": "preflight"}
    own = {"preflight.yml", "consumers.yml", "rollback.yml"}
    late = [t.where for t in tasks("roles") if t.of("assert") and t.path.name not in own]
    assert [where for where in late if "has no uv" not in where] == []
