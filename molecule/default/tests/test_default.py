"""The deployed host, asked from outside: by systemctl, redis-cli, psql and curl, never by our own command line."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

testinfra_hosts = ["ansible://orchestrators"]

UNITS = (
    "redis-server",
    "postgresql@17-main",
    "orchestrator-models",
    "orchestrator-api",
    "orchestrator-workers",
    "orchestrator-worker@lightrag",
)
KEY = "Authorization: Bearer $(cat /etc/orchestrator/credentials/cli/api-key)"
API = "http://127.0.0.1:8000"


def wait_until(condition: Callable[[], Any], within: float = 90.0) -> Any:
    """Return the first truthy value of the condition."""
    limit = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < limit, "it did not come true"
        time.sleep(0.5)
    return value


def curl(host: Any, path: str, *options: str) -> Any:
    """Return the JSON that the API answers."""
    command = f'curl -sS -H "{KEY}" {" ".join(options)} {API}{path}'
    return json.loads(host.check_output(command))


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_runs_and_starts_at_boot(host: Any, unit: str) -> None:
    """All of them, also after a reboot, a power cut and a kill."""
    wait_until(lambda: host.service(unit).is_running)
    assert host.run(f"systemctl is-enabled {unit}").stdout.strip() in {"enabled", "enabled-runtime"}


def test_nothing_has_failed(host: Any) -> None:
    """No unit is in the failed state."""
    wait_until(lambda: host.check_output("systemctl list-units --failed --no-legend --plain 'orchestrator*'") == "")


def test_the_umbrella_says_how_each_type_is(host: Any) -> None:
    """F-07: its status line is the truth about the slots."""
    wait_until(lambda: "lightrag 4/4 slots" in host.check_output("systemctl show -P StatusText orchestrator-workers"))


def test_exactly_the_expected_consumers_are_registered(host: Any) -> None:
    """F-06, E-51: XINFO CONSUMERS shows the names the sizing asks for, no more and no fewer."""
    wait_until(lambda: host.service("orchestrator-worker@lightrag").is_running)
    url = host.check_output("cat /etc/orchestrator/credentials/cli/redis-url")
    reply = host.check_output(
        f"redis-cli -e --no-auth-warning --json -u '{url}' XINFO CONSUMERS shield:ingestion_queue lightrag-workers"
    )
    name = host.check_output("hostname")
    assert sorted(c["name"] for c in json.loads(reply)) == [f"{name}-lightrag-{n}" for n in range(4)]


def test_a_job_goes_the_whole_way(host: Any) -> None:
    """E-45, E-53: submitted by curl, completed, counted once, in PostgreSQL and in Redis."""
    wait_until(lambda: host.run(f"curl -fsS {API}/ready").rc == 0)
    text = f"The Zephyr Project of Oslo University uses apt-get. Run {time.time_ns()}."
    body = json.dumps(
        {"chunks": [{"text": text, "source_uri": "file:z"}], "source_type": "test", "workspace": "molecule"}
    )
    sent = curl(host, "/lightrag/ingest-async", "-X POST", "-H 'Content-Type: application/json'", f"-d '{body}'")
    job = sent["job_id"]
    wait_until(lambda: curl(host, f"/jobs/{job}")["status"] == "completed")
    found = curl(host, f"/jobs/{job}")
    assert (found["chunks_processed"], found["percent_complete"]) == (1, 100.0)
    query = f"SELECT status || ' ' || processed FROM jobs WHERE job_id = '{job}'"
    row = host.check_output(f'runuser -u postgres -- psql -At -d orchestrator -c "{query}"')
    assert row == "completed 1"
    url = host.check_output("cat /etc/orchestrator/credentials/cli/redis-url")
    redis = f"redis-cli -e --no-auth-warning -u '{url}'"
    wait_until(lambda: host.check_output(f"{redis} HGET job:{job} status") == "completed")
    assert 0 < int(host.check_output(f"{redis} TTL job:{job}")) <= 3600


def test_requests_without_a_key_are_refused(host: Any) -> None:
    """X-28: nobody reads jobs without a key."""
    assert host.check_output(f"curl -s -o /dev/null -w '%{{http_code}}' {API}/jobs") == "401"


def test_the_worker_is_hardened(host: Any) -> None:
    """Its exposure is at most 1.5, by systemd's own judgement of the loaded unit."""
    last = host.check_output("systemd-analyze security --no-pager orchestrator-worker@lightrag.service | tail -1")
    exposure = re.search(r": ([0-9.]+) [A-Z]+", last)
    assert exposure is not None and float(exposure.group(1)) <= 1.5, last


def test_secrets_are_nowhere_but_in_their_files(host: Any) -> None:
    """Neither in a unit, nor in an environment, nor in a command line, nor readable by others."""
    secret = host.check_output("cat /etc/orchestrator/credentials/cli/api-key")
    redis = host.check_output("cat /etc/orchestrator/credentials/worker/redis-url").split(":")[2].split("@")[0]
    for word in (secret, redis):
        assert host.run(f"systemctl show 'orchestrator*' | grep -F {word}").rc != 0
        assert host.run(f"grep -aF {word} /proc/[0-9]*/environ").rc != 0
        assert host.run(f"journalctl -b -q | grep -F {word}").rc != 0
    assert host.check_output("find /etc/orchestrator/credentials -perm /077 -print") == ""
