"""Parts of the roles that no other test runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.ansible import play
from tests.deploy.tasks import tasks

pytestmark = pytest.mark.timeout(180)  # a play takes a while on a busy machine

PARTS = "tests/deploy/parts.yml"


def test_credentials_of_a_removed_type_are_removed(tmp_path: Path) -> None:
    """They stayed on the host for ever, secrets of a queue that nobody used any more.

    For a type that now uses our own Redis, `orchestrator check-source` even went on looking there.
    """
    url = {"name": "source-url", "value": "one"}
    both = [{"type": "mails", **url}, {"type": "chat", **url}, {"type": "chat", "name": "source-key", "value": "two"}]
    where: dict[str, Any] = {"part": "credentials", "orchestrator_base_config_dir": str(tmp_path)}
    where["__orchestrator_base_credentials"] = {}  # ours take long to write, one by one
    assert play(PARTS, {**where, "orchestrator_base_source_credentials": both}).returncode == 0
    sources = tmp_path / "credentials/sources"
    assert {str(p.relative_to(sources)) for p in sources.rglob("*")} == {
        *("mails", "mails/source-url", "chat", "chat/source-url", "chat/source-key")
    }
    fewer = {**where, "orchestrator_base_source_credentials": both[1:2]}
    assert play(PARTS, fewer).returncode == 0
    assert {str(p.relative_to(sources)) for p in sources.rglob("*")} == {"chat", "chat/source-url"}
    assert "changed=0" in play(PARTS, fewer).stdout


@pytest.mark.parametrize(
    ("variables", "redis", "sql"),
    [
        ({}, "redis://", ""),
        (
            {"orchestrator_base_redis_tls": True, "orchestrator_base_postgresql_options": "sslmode=verify-full"},
            "rediss://",
            "?sslmode=verify-full",
        ),
    ],
    ids=["here", "elsewhere"],
)
def test_x41_servers_elsewhere_are_reached_by_tls(
    tmp_path: Path, variables: dict[str, Any], redis: str, sql: str
) -> None:
    """The URLs were written for servers on this host: to another one passwords and texts went in the clear."""
    where = {"part": "credentials", "orchestrator_base_config_dir": str(tmp_path), **variables}
    assert play(PARTS, where).returncode == 0
    written = {p.name + p.parent.name: p.read_text() for p in (tmp_path / "credentials").rglob("*") if p.is_file()}
    assert written["redis-urlworker"].startswith(f"{redis}worker:") and written["redis-urlworker"].endswith("/0")
    assert written["postgres-dsnapi"].endswith(f"@127.0.0.1:5432/orchestrator{sql}")
    assert written["lightrag-dsnapi"].endswith(f"@127.0.0.1:5432/lightrag{sql}")


def test_the_api_is_asked_where_it_listens() -> None:
    """The canary asked 127.0.0.1, so a deploy failed wherever the API had an address of its own."""
    done = play(PARTS, {"part": "address"})
    assert done.returncode == 0, done.stdout
    asked = re.findall(r"asked at (\S+)", done.stdout)
    assert asked == ["127.0.0.1", "127.0.0.1", "[::1]", "198.51.100.8", "[2001:db8::8]", "api.example"]


def test_a_rollback_knows_no_path_and_ends_with_the_proof() -> None:
    """It was written for /opt/orchestrator, left the models on the release it went back from, and proved nothing."""
    play_book = [t for t in tasks("playbooks") if t.path.name == "rollback.yml"]
    assert "/opt/" not in play_book[0].path.read_text(encoding="utf-8")
    assert (play_book[-1].of("import_role") or {})["name"] == "orchestrator_validate"
    restart = [t for t in tasks("roles/orchestrator_base/tasks") if t.path.name == "rollback.yml"][-1]
    for unit in ("orchestrator-models", "orchestrator-api", "orchestrator-workers"):
        assert unit in str(restart.values)
