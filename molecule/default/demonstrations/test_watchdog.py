"""systemd's watchdog, for real: a worker that stands still is ended and started again, and its work is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.deployed import Deployed, eventually

testinfra_hosts = ["ansible://orchestrators"]
pytestmark = pytest.mark.timeout(900)

WORKER = "orchestrator-worker@lightrag"
DROP_IN = f"/run/systemd/system/{WORKER}.service.d"
SECONDS = 8
"""Instead of the unit's own time, so that nobody has to wait for that here."""


@pytest.fixture
def impatient(deployed: Deployed) -> Iterator[Deployed]:
    """The host, with a watchdog that soon loses its patience."""
    deployed.sh(f"mkdir -p {DROP_IN} && printf '[Service]\\nWatchdogSec={SECONDS}\\n' >{DROP_IN}/soon.conf")
    deployed.sh(f"systemctl daemon-reload && systemctl restart {WORKER}")
    yield deployed
    deployed.sh(f"rm -r {DROP_IN} && systemctl daemon-reload && systemctl restart {WORKER}")


def test_a_worker_that_stands_still_is_started_again_and_loses_nothing(impatient: Deployed) -> None:
    """Stopped in the middle of a job: the next process finishes that, and the stop is no attempt of its chunks."""
    host = impatient
    eventually(lambda: host.running(WORKER))
    before = host.unit(WORKER, "MainPID")
    job = host.submit((f"Grace sent letter {n} to Howard." for n in range(12)), workspace="watchdog")
    eventually(lambda: host.counters(job)["running"] > 0)
    host.sh(f"kill -STOP {before}")
    eventually(lambda: host.unit(WORKER, "MainPID") not in {"0", before} and host.running(WORKER))
    assert host.unit(WORKER, "NRestarts") == "1"
    assert "Watchdog timeout" in host.sh(f"journalctl --quiet --boot --unit {WORKER} --output cat")
    eventually(lambda: host.counters(job)["status"] == "completed", within=200)
    assert host.counters(job)["processed"] == 12
    assert host.psql(f"SELECT DISTINCT attempts FROM chunks WHERE job_id = '{job}'") == "1"
