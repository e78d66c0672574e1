"""The release on the host."""

from __future__ import annotations

import re

from tests.support.deployed import Deployed

testinfra_hosts = ["ansible://orchestrators"]

APP = "/opt/orchestrator"


def test_current_is_a_complete_release_named_by_version_and_contents(deployed: Deployed) -> None:
    """Design 5: releases/<version>-<sha>, and `current` points at it; what runs is what the name says."""
    current = deployed.sh(f"readlink {APP}/current")
    named = re.fullmatch(rf"{APP}/releases/([0-9.]+[a-z0-9.+]*)-[0-9a-f]{{12}}", current)
    assert named, current
    assert deployed.host.file(f"{current}/.complete").exists
    version = "import importlib.metadata as m; print(m.version('orchestrator-workers'))"
    assert deployed.sh(f'{APP}/current/bin/python -I -c "{version}"') == named[1]


def test_the_services_run_from_it(deployed: Deployed) -> None:
    """Nothing was left running on an older release."""
    current = deployed.sh(f"readlink {APP}/current")
    for unit in ("orchestrator-workers", "orchestrator-worker@lightrag", "orchestrator-api", "orchestrator-models"):
        process = f"/proc/{deployed.unit(unit, 'MainPID')}/maps"
        assert deployed.host.run(f"grep -qF {current}/ {process}").rc == 0, unit


def test_at_most_three_releases_are_kept(deployed: Deployed) -> None:
    """Whatever was deployed before."""
    assert 1 <= len(deployed.sh(f"ls {APP}/releases").split()) <= 3
