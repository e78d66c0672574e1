"""Every source on one host: its unit runs, its queue is proved in its own terms, and a message of it is processed."""

from __future__ import annotations

import json
import time

import pytest
from tests.support.deployed import Deployed, eventually

testinfra_hosts = ["ansible://orchestrators"]

PYTHON = "cd /opt/queues && venv/bin/python client.py"
# worker type -> how a producer puts a text on its queue; our own stream's clients are redis-cli's user `api`
PRODUCERS = {
    "noop-bullmq": "cd /opt/queues && node client.mjs {text}",
    "noop-mongodb": f"{PYTHON} mongodb {{text}}",
    "noop-sqs": f"{PYTHON} sqs {{text}}",
    "noop-surrealdb": f"{PYTHON} surrealdb {{text}}",
    "noop-stream": (
        'redis-cli -e --no-auth-warning -u "$(cat /etc/orchestrator/credentials/api/redis-url)"'
        " XADD noop:stream '*' job_id {text} chunk_id 0 content {text} metadata '{{}}' chunks_total 1"
    ),
}
FOREIGN = sorted(set(PRODUCERS) - {"noop-stream"})


@pytest.mark.parametrize("worker_type", sorted(PRODUCERS))
def test_its_unit_runs(deployed: Deployed, worker_type: str) -> None:
    """Each type has a unit of its own, which has not been restarted."""
    unit = f"orchestrator-worker@{worker_type}"
    eventually(lambda: deployed.running(unit))
    assert deployed.unit(unit, "NRestarts") == "0"


def test_the_umbrella_names_all_of_them(deployed: Deployed) -> None:
    """F-07: one line for all types."""
    wanted = [f"{worker_type} 2/2 slots" for worker_type in sorted(PRODUCERS)]
    eventually(lambda: sorted(wanted) == sorted(said(deployed)))


def said(deployed: Deployed) -> list[str]:
    """Return what the status line says of the slots of each type."""
    return [part.split(",")[0] for part in deployed.unit("orchestrator-workers", "StatusText").split("; ")]


def test_our_streams_consumers_are_registered(deployed: Deployed) -> None:
    """XINFO names the slots of the type that has a stream, and no other's."""
    found = [consumer["name"] for consumer in deployed.xinfo("CONSUMERS", "noop:stream", "noop-workers")]
    name = deployed.sh("hostname")
    assert sorted(found) == [f"{name}-noop-stream-{n}" for n in range(2)]


@pytest.mark.parametrize("worker_type", FOREIGN)
def test_the_queue_of_others_is_proved(deployed: Deployed, worker_type: str) -> None:
    """Its depth, and a claim that takes nothing, with the credentials of its unit."""
    found = json.loads(deployed.sh(f"orchestrator check-source {worker_type} --output json"))
    assert (found["type"], found["source"]) == (worker_type, worker_type.removeprefix("noop-"))
    assert found["depth"] == 0 and found["found"]


@pytest.mark.parametrize("worker_type", sorted(PRODUCERS))
def test_a_message_put_with_the_queues_own_client_is_processed(deployed: Deployed, worker_type: str) -> None:
    """It enters the ledger as a job with one chunk, tried once, and its queue is empty afterwards."""
    text = f"{worker_type}-{time.time_ns()}"
    deployed.sh(PRODUCERS[worker_type].format(text=text))
    columns = "j.worker_type, j.status, c.status, c.attempts, c.deliveries"
    query = f"SELECT {columns} FROM jobs j JOIN chunks c USING (job_id) WHERE c.content = '{text}'"
    eventually(lambda: deployed.psql(query) == f"{worker_type}|completed|processed|1|1", within=30)
    if worker_type in FOREIGN:
        depth = f"orchestrator check-source {worker_type} --output json"
        eventually(lambda: json.loads(deployed.sh(depth))["depth"] == 0, within=30)


def test_a_credential_is_loaded_by_its_types_unit_alone(deployed: Deployed) -> None:
    """Secrets of one queue are no other worker's."""
    for worker_type in PRODUCERS:
        loaded = deployed.unit(f"orchestrator-worker@{worker_type}", "LoadCredential")
        others = [name for name in FOREIGN if name != worker_type]
        assert [name for name in others if f"/sources/{name}/" in loaded] == []
