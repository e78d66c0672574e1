"""Who may do what: secrets, Redis users and PostgreSQL roles."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from tests.support.deployed import CREDENTIALS, Deployed

testinfra_hosts = ["ansible://orchestrators"]

DDL = (
    "CREATE TABLE intruder ()",
    "CREATE SCHEMA intruder",
    "ALTER TABLE jobs ADD COLUMN intruder int",
    "DROP TABLE chunks",
    "TRUNCATE jobs CASCADE",
    "CREATE ROLE intruder",
)
WRITES = ("DELETE FROM jobs", "UPDATE chunks SET attempts = 0", "INSERT INTO events (type, data) VALUES ('x', '{}')")
REFUSED = re.compile(r"^ERROR: +(permission denied|must be owner)", re.MULTILINE)


def refusals(deployed: Deployed, component: str, statements: Sequence[str]) -> int:
    """Return how many of the statements PostgreSQL refuses a component's role; nothing of them stays in any case."""
    acts = " ".join(f'-c "{statement}"' for statement in ("BEGIN", *statements, "ROLLBACK"))
    dsn = f"$(cat {CREDENTIALS}/{component}/postgres-dsn)"
    done = deployed.host.run(f'psql "{dsn}" -X -v ON_ERROR_ROLLBACK=on {acts}')
    assert done.stdout.split() == ["BEGIN", "ROLLBACK"], f"{done.stdout}{done.stderr}"
    return len(REFUSED.findall(done.stderr))


@pytest.mark.parametrize("component", ["worker", "api", "supervisor", "cli"])
def test_no_role_of_a_service_changes_the_schema(deployed: Deployed, component: str) -> None:
    """Design 5: migrations are the owner's, the runtime has no DDL."""
    assert refusals(deployed, component, DDL) == len(DDL)


def test_ids_are_compared_byte_by_byte(deployed: Deployed) -> None:
    """By the rules of the host's C library an index is wrong once that has another version, as on Debian's next."""
    query = "SELECT datcollate FROM pg_database WHERE datname IN ('orchestrator', 'lightrag')"
    assert deployed.psql(query).split() == ["C", "C"]


@pytest.mark.parametrize("component", ["supervisor", "cli"])
def test_who_only_looks_cannot_write(deployed: Deployed, component: str) -> None:
    """The pulse and the command line read."""
    assert refusals(deployed, component, WRITES) == len(WRITES)


def test_redis_answers_nobody_without_a_name(deployed: Deployed) -> None:
    """The default user is off, with and without a password."""
    assert deployed.sh("redis-cli PING").startswith("NOAUTH")
    assert "WRONGPASS" in deployed.sh("redis-cli --no-auth-warning -u redis://default:guess@127.0.0.1 PING 2>&1")


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("worker", "FLUSHALL"),
        ("worker", "CONFIG GET maxmemory"),
        ("worker", "GET somebody-elses"),
        ("api", "XREADGROUP GROUP lightrag-workers x COUNT 1 STREAMS shield:ingestion_queue \\>"),
        ("api", "ACL LIST"),
        ("cli", "DEL job:x"),
        ("cli", "XADD shield:ingestion_queue \\* a b"),
    ],
)
def test_a_redis_user_does_its_work_and_nothing_else(deployed: Deployed, user: str, command: str) -> None:
    """Each component has a user of its own, with the commands and keys it needs."""
    assert deployed.redis("PING", user=user) == "PONG"
    assert deployed.redis_refuses(command, user=user)


def test_secrets_are_nowhere_but_in_their_files(deployed: Deployed) -> None:
    """Neither in a unit, nor in an environment, nor in a command line, nor readable by others."""
    words = [deployed.sh(f"cat {CREDENTIALS}/cli/api-key")]
    words += [deployed.password(f"worker/{name}") for name in ("redis-url", "postgres-dsn", "lightrag-dsn")]
    assert min(len(word) for word in words) >= 16
    sought = " ".join(f"-e {word}" for word in words)
    for where in ("systemctl show 'orchestrator*'", "cat /proc/[0-9]*/environ", "journalctl -b -q"):
        assert deployed.host.run(f"{where} | grep -aF {sought}").rc == 1, where
    assert deployed.sh(f"find {CREDENTIALS} -perm /077 -print") == ""
