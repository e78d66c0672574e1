"""Faults of the first design's playbooks, each shown to be seen in its own words, and absent from ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis
import yaml

from tests.deploy.ansible import PROJECT, play
from tests.deploy.tasks import Task, tasks, tasks_in
from tests.support.program import PROGRAM

ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir() if path.is_dir())
EDITS = ("lineinfile", "blockinfile", "replace", "ini_file")
IN_CHECK_MODE = "{{ ansible_check_mode }}"
LOOPBACK = {"127.0.0.1"}

PROOF = "tests/deploy/consumers.yml"
POOL = '''"""Sizing of the worker pool."""

from orchestrator.settings import WorkerPoolSettings

settings = WorkerPoolSettings(
    host="h",
    size=2,
    types={"lightrag": {"handler": "noop", "stream": "q", "group": "g"}},
)
'''
SEED = """
- name: Include the router
  ansible.builtin.lineinfile: {path: main.py, insertafter: "app = FastAPI", line: app.include_router(jobs.router)}
- name: Test the pool
  ansible.builtin.shell: timeout 10 python -c "..." || echo "Worker pool test completed"
- name: Verify Redis consumer group
  ansible.builtin.command: redis-cli -h 192.168.10.48 XINFO CONSUMERS shield:ingestion_queue lightrag-workers
  failed_when: false
- name: Restart
  ansible.builtin.systemd_service: {name: orchestrator-api.service, state: restarted}
"""


def seeds() -> list[Task]:
    """Return tasks as the first design had them."""
    return list(tasks_in(yaml.safe_load(SEED), PROJECT / "roles/redis/tasks/main.yml"))


def strings(value: object) -> Iterator[str]:
    """Yield every string in a parsed value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def edits(task: Task) -> bool:
    """Return whether a task changes lines of a file that somebody else wrote."""
    modules = [name.rpartition(".")[2] for name in task.values]
    return bool({*modules} & {*EDITS}) or any(re.search(r"\bsed\b.* -i", s) for s in strings(task.values))


def test_x26_no_task_edits_a_file_in_place() -> None:
    """A line put into source code: no import beside it, at the end of the file when its anchor is missing."""
    assert [t.values["name"] for t in seeds() if edits(t)] == ["Include the router"]
    assert [t.where for t in tasks() if edits(t)] == []


def written(task: Task) -> list[dict[str, Any]]:
    """Return the files a task writes; those of the credentials are made up by variables."""
    files = (task.of("orchestrator_files") or {}).get("files", [])
    return files if isinstance(files, list) else []


def test_x26_what_is_rendered_lies_beside_the_code() -> None:
    """Settings modules go under the configuration's directory; the code comes as a wheel and stays as it is."""
    files = [file for t in tasks("roles") for file in written(t) if file["path"].endswith(".py")]
    assert len({file["path"] for file in files}) == 5
    assert [f for f in files if not f["path"].startswith("{{ orchestrator_base_config_dir }}/")] == []
    assert [f for f in files if not str(f["validate"]).endswith(" check-settings %s")] == []


def hides(task: Task) -> bool:
    """Return whether a task can fail and be green. A bare host in check mode is the one exception."""
    values = task.values
    forgiven = values.get("ignore_errors", False) not in (False, IN_CHECK_MODE)
    never = values.get("failed_when") in (False, "false", [False]) or values.get("ignore_unreachable", False)
    commands = [s for m in ("command", "shell", "raw") for s in strings(task.of(m) or {})]
    swallowed = any(re.search(r"\|\||;\s*(true|:|echo)\b|;\s*exit 0", s) for s in commands)
    return forgiven or bool(never) or swallowed or "rescue" in values


def test_x39_no_failure_is_swallowed() -> None:
    """`|| echo` hid every failure of the pool's test; so do `failed_when: false`, `ignore_errors` and a rescue."""
    assert [t.values["name"] for t in seeds() if hides(t)] == ["Test the pool", "Verify Redis consumer group"]
    assert [t.where for t in tasks() if hides(t)] == []
    assert [t.where for t in tasks() if t.of("shell") or t.of("raw")] == []


@pytest.fixture
async def host(redis_url: str, tmp_path: Path) -> dict[str, Any]:
    """The variables of a deployed host with two slots: its program, its settings and its credentials are there."""
    written = {"workers/worker_pool.py": POOL, "credentials/cli/redis-url": redis_url}
    for name, text in written.items():
        (tmp_path / "etc" / name).parent.mkdir(parents=True)
        (tmp_path / "etc" / name).write_text(text, encoding="utf-8")
    (tmp_path / "app/current/bin").mkdir(parents=True)
    (tmp_path / "app/current/bin/orchestrator").symlink_to(PROGRAM)
    return {
        "orchestrator_base_app_dir": str(tmp_path / "app"),
        "orchestrator_base_config_dir": str(tmp_path / "etc"),
        "orchestrator_workers_host": "h",
        "orchestrator_workers_pool_size": 2,
        "orchestrator_worker_types": [{"name": "lightrag", "handler": "noop", "stream": "q", "group": "g"}],
    }


@pytest.mark.timeout(180)  # plays take a while on a busy machine
async def test_x40_the_proof_fails_without_the_group_and_passes_with_its_consumers(
    host: dict[str, Any], redis_url: str
) -> None:
    """`redis-cli` exits 0 on NOGROUP and the first design read no further; "operational" was printed in any case."""
    done = play(PROOF, host)
    said = " ".join(done.stdout.split())  # it is folded
    assert done.returncode != 0 and "not registered in group g: h-lightrag-0, h-lightrag-1" in said, said
    client = redis.Redis.from_url(redis_url)
    await client.xgroup_create("q", "g", id="0", mkstream=True)
    for name in ("h-lightrag-0", "h-lightrag-1", "elsewhere-lightrag-0"):
        await client.xgroup_createconsumer("q", "g", name)
    await client.aclose()
    done = play(PROOF, host)
    assert done.returncode == 0 and "lightrag: h-lightrag-0, h-lightrag-1" in done.stdout, done.stdout
    # what was to be deployed asks for more than the settings on the host and Redis agree on
    done = play(PROOF, {**host, "orchestrator_workers_pool_size": 3})
    assert done.returncode != 0 and "expected [" in done.stdout and "h-lightrag-2" in done.stdout


def test_x40_no_success_is_printed_that_nothing_checked() -> None:
    """The last words of a play are those of an assertion."""
    said = [t.where for t in tasks("roles/orchestrator_validate") if t.of("debug")]
    assert said == []
    parsed = [t for t in tasks("roles/orchestrator_validate") if "from_json" in str(t.values)]
    assert [t.values["name"] for t in parsed if t.of("assert")]


def addresses(text: str) -> set[str]:
    """Return the addresses of hosts in a text."""
    return set(re.findall(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", text))


def test_x41_no_address_is_written_into_a_role() -> None:
    """Redis and the API were at 192.168.10.48 and .8 whatever the inventory said. Loopback is a default."""
    assert addresses(SEED) == {"192.168.10.48"}
    texts = {p: p.read_text(encoding="utf-8") for d in ("roles", "playbooks") for p in (PROJECT / d).rglob("*.*")}
    assert [str(p.relative_to(PROJECT)) for p, text in texts.items() if addresses(text) - LOOPBACK] == []


def test_x41_a_host_needs_no_redis_cli() -> None:
    """It comes with a Redis server, and Redis may be elsewhere."""

    def asks(found: list[Task]) -> list[str]:
        return [t.where for t in found if any("redis-cli" in s for s in strings(t.of("command") or {}))]

    assert asks(seeds()) and asks(tasks("roles")) == []


def named_files(task: Task) -> Iterator[Path]:
    """Yield the files a task of a role names, one for each item of its loop."""
    for string in strings(task.of("orchestrator_files") or {}):
        for name in re.findall(r"lookup\('ansible.builtin.template', '([^']+)'\)", string):
            yield task.role / "templates" / name
    for module in ("include_tasks", "import_tasks"):
        values = task.of(module) or {}
        if name := values.get("file") or values.get("_"):
            yield task.role / "tasks" / name
    for module in ("include_role", "import_role"):
        if role := task.of(module):
            for item in task.values.get("loop", [""]):
                name = role.get("tasks_from", "main").replace("{{ item }}", item).removesuffix(".yml")
                yield PROJECT / "roles" / role["name"] / "tasks" / f"{name}.yml"


def test_x44_every_file_that_is_named_is_there() -> None:
    """03-processor.yml, the tasks' main.yml, the handlers and the API's template were named and did not exist."""
    named = [(t.where, path) for t in tasks("roles") + tasks("playbooks") for path in named_files(t)]
    assert len(named) >= 25
    assert [(where, path) for where, path in named if not path.is_file()] == []


def test_x44_every_handler_that_is_notified_is_there() -> None:
    """`restart orchestrator` was notified and nowhere defined."""
    handlers = {t.values["name"] for t in tasks("roles") if t.path.parent.name == "handlers"}
    notified = {name for t in tasks("roles") for name in strings(t.values.get("notify"))}
    assert notified and notified <= handlers
    assert handlers <= notified, "a handler that nobody notifies"


@pytest.mark.parametrize("role", ROLES)
def test_x44_a_role_is_whole(role: str) -> None:
    """Tasks, defaults, meta and the specification of its arguments, which Ansible checks at the role's start."""
    parts = ("tasks/main.yml", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml")
    assert [part for part in parts if not (PROJECT / "roles" / role / part).is_file()] == []


def reads_units(task: Task) -> bool:
    """Return whether systemd reads its units anew in this task, which it does before it starts anything."""
    values = task.of("systemd_service") or {}
    return bool(values.get("daemon_reload"))


def test_x45_systemd_reads_the_units_before_it_restarts_them() -> None:
    """A restart without daemon-reload runs the unit as it was before the deploy."""

    def restarts_the_old(found: list[Task]) -> list[str]:
        states = [(t, t.of("systemd_service") or {}) for t in found]
        restarts = [t for t, v in states if v.get("state") == "restarted"]
        ours = [t for t in restarts if "orchestrator" in f"{t.path.relative_to(PROJECT)} {t.values}"]
        return [t.values["name"] for t in ours if not reads_units(t)]

    assert restarts_the_old(seeds()) == ["Restart"]
    assert restarts_the_old(tasks("roles")) == []


def test_x45_a_changed_unit_is_read_and_started_in_this_order() -> None:
    """Whoever writes a unit says who reads it: a handler, or the next task that starts something."""
    for role in ROLES:
        found = [t for t in tasks(f"roles/{role}") if t.path.parent.name == "tasks"]
        units = [t for t in found if "/etc/systemd/system" in str(t.of("orchestrator_files"))]
        assert all(t.values.get("notify") for t in units), role
        starts = [i for i, t in enumerate(found) if (t.of("systemd_service") or {}).get("state") == "started"]
        for start in starts if units else []:
            before = [t for t in found[: start + 1] if t.path == found[start].path]
            assert any(reads_units(t) for t in before), found[start].where
