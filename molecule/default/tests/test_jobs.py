"""A job goes the whole way: submitted by curl, seen in PostgreSQL, Redis and the event stream."""

from __future__ import annotations

import json
import time

from tests.support.deployed import API, Deployed, eventually

testinfra_hosts = ["ansible://orchestrators"]

STREAM, GROUP = "shield:ingestion_queue", "lightrag-workers"


def texts() -> list[str]:
    """Return two chunks that no job had before."""
    said = f"The Zephyr Project of Oslo University uses apt-get. Run {time.time_ns()}"
    return [f"{said}, first.", f"{said}, second."]


def test_a_job_goes_the_whole_way(deployed: Deployed) -> None:
    """E-45, E-53: submitted by curl, completed, counted once, in PostgreSQL and in Redis."""
    job = deployed.submit(texts())
    eventually(lambda: deployed.curl(f"/jobs/{job}")["status"] == "completed")
    found = deployed.curl(f"/jobs/{job}")
    assert (found["chunks_processed"], found["percent_complete"]) == (2, 100.0)
    ledger = deployed.counters(job)
    assert (ledger["status"], ledger["processed"]) == ("completed", 2)
    eventually(lambda: deployed.redis("HGET", f"job:{job}", "status") == "completed")
    assert 0 < int(deployed.redis("TTL", f"job:{job}")) <= 3600


def test_its_events_are_streamed(deployed: Deployed) -> None:
    """E-46, E-53: queued, started, progress, completed, with ids that grow; after an id only what came later."""
    job = deployed.submit(texts())
    eventually(lambda: deployed.curl(f"/jobs/{job}")["status"] == "completed")
    events = deployed.events(job)
    kinds = [event["event"].removeprefix("ingestion.") for event in events]
    assert kinds[:2] == ["queued", "started"] and kinds[-1] == "completed"
    assert set(kinds[2:-1]) == {"progress"}
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    assert {json.loads(event["data"])["job_id"] for event in events} == {job}
    assert deployed.events(job, after=events[1]["id"]) == events[2:]


def test_exactly_the_expected_consumers_are_registered(deployed: Deployed) -> None:
    """F-06, E-51: XINFO CONSUMERS shows the names the sizing asks for, no more and no fewer."""
    eventually(lambda: deployed.running("orchestrator-worker@lightrag"))
    name = deployed.sh("hostname")
    found = [consumer["name"] for consumer in deployed.xinfo("CONSUMERS", STREAM, GROUP)]
    assert sorted(found) == [f"{name}-lightrag-{n}" for n in range(4)]


def test_the_group_is_registered_and_nothing_is_left_pending(deployed: Deployed) -> None:
    """E-52: one group, its consumers, and every entry that was read is acknowledged and gone."""
    eventually(lambda: all(group["pending"] == 0 for group in deployed.xinfo("GROUPS", STREAM)))
    assert [(group["name"], group["consumers"]) for group in deployed.xinfo("GROUPS", STREAM)] == [(GROUP, 4)]
    eventually(lambda: deployed.redis("XLEN", STREAM) == "0")


def test_requests_without_a_key_are_refused(deployed: Deployed) -> None:
    """X-28: nobody reads jobs without a key."""
    assert deployed.sh(f"curl -s -o /dev/null -w '%{{http_code}}' {API}/jobs") == "401"
