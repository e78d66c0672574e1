"""The umbrella: what reaches the workers through it, and what of its own does not."""

from __future__ import annotations

from tests.support.deployed import Deployed, eventually

testinfra_hosts = ["ansible://orchestrators"]

UMBRELLA, WORKER = "orchestrator-workers", "orchestrator-worker@lightrag"


def processes(deployed: Deployed) -> tuple[str, str]:
    """Return the main processes of umbrella and worker, once both run."""
    eventually(lambda: deployed.running(UMBRELLA, WORKER))
    return deployed.unit(UMBRELLA, "MainPID"), deployed.unit(WORKER, "MainPID")


def test_a_restart_reaches_the_workers(deployed: Deployed) -> None:
    """Both are new, and both came to their end in order."""
    before = processes(deployed)
    deployed.sh(f"systemctl restart {UMBRELLA}")
    after = processes(deployed)
    assert set(before) & set(after) == set()
    assert deployed.unit(WORKER, "NRestarts") == "0"


def test_its_crash_leaves_the_workers_alone_and_it_comes_back(deployed: Deployed) -> None:
    """Killed as the kernel would: the workers are the same processes, and after a moment its pulse is there again."""
    umbrella, worker = processes(deployed)
    deployed.sh(f"kill -KILL {umbrella}")
    eventually(lambda: deployed.unit(UMBRELLA, "MainPID") not in {"0", umbrella} and deployed.running(UMBRELLA))
    assert deployed.unit(WORKER, "MainPID") == worker
    assert deployed.unit(WORKER, "NRestarts") == "0"
    eventually(lambda: "lightrag 4/4 slots" in deployed.unit(UMBRELLA, "StatusText"))


def test_a_reload_is_refused_and_changes_nothing(deployed: Deployed) -> None:
    """Decision 10: settings change by a restart, which drains."""
    before = processes(deployed)
    assert {deployed.unit(name, "CanReload") for name in (UMBRELLA, WORKER, "orchestrator-api")} == {"no"}
    refused = deployed.host.run(f"systemctl reload {UMBRELLA}")
    assert refused.rc != 0 and "reload" in refused.stderr.lower()
    assert processes(deployed) == before
