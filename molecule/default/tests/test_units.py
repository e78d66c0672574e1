"""The units: all run, each says how it is, and each is as closed as it was meant to be."""

from __future__ import annotations

import re
from signal import SIGKILL

import pytest
from tests.support.deployed import Deployed, eventually

testinfra_hosts = ["ansible://orchestrators"]

UNITS = (
    "redis-server",
    "postgresql@17-main",
    "orchestrator-models",
    "orchestrator-api",
    "orchestrator-workers",
    "orchestrator-worker@lightrag",
)
OURS = UNITS[2:]
# Allocates within the unit's own control group, of either version; says how that ended.
ALLOCATE = """
group=$(systemctl show -P ControlGroup {unit})
for top in /sys/fs/cgroup/memory /sys/fs/cgroup; do
    [ -e "$top$group/cgroup.procs" ] && procs=$top$group/cgroup.procs && break
done
sh -c "echo \\$\\$ > $procs && exec python3 -c 'bytearray({bytes})'"
echo $?
"""


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_runs_and_starts_at_boot(deployed: Deployed, unit: str) -> None:
    """All of them, also after a reboot, a power cut and a kill."""
    eventually(lambda: deployed.running(unit))
    assert deployed.unit(unit, "UnitFileState") in {"enabled", "enabled-runtime"}


def test_nothing_has_failed(deployed: Deployed) -> None:
    """No unit is in the failed state."""
    eventually(lambda: deployed.sh("systemctl list-units --failed --no-legend --plain 'orchestrator*'") == "")


def test_the_umbrella_says_how_each_type_is(deployed: Deployed) -> None:
    """F-07: its status line is the truth about the slots."""
    eventually(lambda: "lightrag 4/4 slots" in deployed.unit("orchestrator-workers", "StatusText"))


@pytest.mark.parametrize("unit", OURS)
def test_the_unit_is_hardened(deployed: Deployed, unit: str) -> None:
    """Its exposure is at most 1.5, by systemd's own judgement of the loaded unit."""
    last = deployed.sh(f"systemd-analyze security --no-pager {unit}.service | tail -1")
    exposure = re.search(r": ([0-9.]+) [A-Z]+", last)
    assert exposure is not None and float(exposure.group(1)) <= 1.5, last


def test_the_memory_limit_of_a_unit_is_felt(deployed: Deployed) -> None:
    """Not read back but felt: what takes more than MemoryMax within the umbrella's group is killed, the rest is not."""
    unit = "orchestrator-workers"
    eventually(lambda: deployed.running(unit))
    limit = int(deployed.unit(unit, "MemoryMax"))
    assert limit == 256 << 20
    assert deployed.sh(ALLOCATE.format(unit=unit, bytes=limit // 8)) == "0"
    assert deployed.sh(ALLOCATE.format(unit=unit, bytes=2 * limit)) == str(128 + SIGKILL)
    eventually(lambda: deployed.running(unit))
