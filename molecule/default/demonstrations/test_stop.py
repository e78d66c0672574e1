"""The demonstration of the issue: stop during a running job, then start; it completes and nothing counts twice."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.support.deployed import COUNTERS, Deployed, eventually

testinfra_hosts = ["ansible://orchestrators"]
pytestmark = pytest.mark.timeout(900)

UMBRELLA, WORKER = "orchestrator-workers", "orchestrator-worker@lightrag"
CHUNKS = 48  # more than the 4 x 2 that are in hand, and than are done before the stop begins


def texts() -> list[str]:
    """Return chunks that no job had before, each of people of its own."""
    names = ["".join(chr(ord("a") + int(digit)) for digit in str(time.time_ns() + n)).title() for n in range(CHUNKS)]
    return [f"Doctor {name} wrote a letter to Lady {name[::-1].title()}." for name in names]


def accounts(deployed: Deployed, job: str) -> dict[str, str]:
    """Return how often chunks of each status were tried and delivered, as `attempts/deliveries` words."""
    columns = "status, string_agg(DISTINCT attempts || '/' || deliveries, ' ')"
    rows = deployed.psql(f"SELECT {columns} FROM chunks WHERE job_id = '{job}' GROUP BY status").splitlines()
    return dict(row.split("|") for row in rows)


def under_way(counters: dict[str, Any]) -> bool:
    """Return whether some of a job is done, some in hand and some waits."""
    return all(counters[key] > 0 for key in ("processed", "running", "queued"))


def test_a_stop_waits_for_the_drain_and_after_a_start_the_job_completes(deployed: Deployed) -> None:
    """F-07: `systemctl stop orchestrator-workers` drains; attempts 1, deliveries 1, and all are there."""
    eventually(lambda: deployed.running(UMBRELLA, WORKER))
    job = deployed.submit(texts(), workspace="stop")
    eventually(lambda: under_way(deployed.counters(job)), every=0.1)
    deployed.sh(f"systemctl stop {UMBRELLA}")
    stopped = deployed.counters(job)  # at the very moment it returns
    assert not deployed.running(WORKER)
    assert deployed.unit(WORKER, "Result") == "success"
    assert (stopped["running"], stopped["failed"], stopped["cancelled"]) == (0, 0, 0)
    assert stopped["status"] == "processing" and 0 < stopped["processed"] < CHUNKS
    assert accounts(deployed, job) == {"processed": "1/1", "queued": "0/0"}
    deployed.sh(f"systemctl start {UMBRELLA}")
    eventually(lambda: deployed.counters(job)["status"] == "completed", within=300)
    assert deployed.counters(job) == dict(zip(COUNTERS, ("completed", CHUNKS, 0, 0, CHUNKS, 0, 0), strict=True))
    assert accounts(deployed, job) == {"processed": "1/1"}
    assert deployed.psql(f"SELECT count(*) FROM dead_letters WHERE job_id = '{job}'") == "0"
