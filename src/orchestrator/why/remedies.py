"""What mends what, as commands to type: shared by the reasons of a job and the findings of the doctor. Pure.

A remedy begins with what mends, or with WAIT where only time does; what merely shows more comes after it.
"""

from __future__ import annotations

WAIT = "nothing to do but wait"
DEPLOY = "ansible-playbook site.yml --tags workers,api"
FIX = "orchestrator doctor --fix (the reconciler does it by itself within a minute)"
REDIS_AWAY = "systemctl start redis-server; if it does not stay up: journalctl -u redis-server -n 50"
"""No restart: what producers of their own put there may be lost with it."""
REDIS_REFUSES = "ansible-playbook site.yml writes its users and credential redis-url anew"
CREDENTIALS = (
    "ansible-playbook site.yml writes users and credentials anew; those of a queue that is not ours: the vault, first"
)
BRING_BACK = (
    f"{WAIT} until that is back, and the worker goes on by itself; if it has moved: its new address, then {DEPLOY}"
)


def obstacle(*, credentials: bool) -> str:
    """Return what gets a worker going that lives and cannot work."""
    return CREDENTIALS if credentials else BRING_BACK


def restart(unit: str) -> str:
    """Return how a unit is brought back. A worker drains first: that costs neither an attempt nor a delivery."""
    return f"systemctl restart {unit}; if it does not stay up: journalctl -u {unit} -n 50"


def worker(worker_type: str) -> str:
    """Return how the workers of a type are brought back."""
    return restart(f"orchestrator-worker@{worker_type}")
