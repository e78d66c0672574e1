"""Snapshots: what a host has written becomes a layer that it, and later hosts, stand on. Nothing is copied."""

from __future__ import annotations

from pathlib import Path

from lab.host import Host
from lab.shell import LabError
from lab.state import read, write


def _place(run_directory: Path, label: str) -> Path:
    return run_directory / "snapshots" / label


def take(run_directory: Path, host: Host, label: str) -> None:
    """Keep the state of a host. It is shut down for it, and booted again if it ran. Raises LabError."""
    place = _place(run_directory, label)
    if (place / "snapshot.json").exists():
        raise LabError(f"the run {run_directory.name} has a snapshot {label!r} already; take another label")
    running, known = host.alive(), host.known()
    host.stop()
    host.unmount()
    place.mkdir(parents=True, exist_ok=True)
    layer = place / "layer"
    lower = f"{layer}:{known['lower']}"
    host.record(known["suite"], lower)  # first: if we end before the next line, the host cannot boot without its past
    host.upper.rename(layer)
    write(place / "snapshot.json", {"suite": known["suite"], "lower": lower})
    if running:
        host.start()
        host.wait()


def find(run_directory: Path, label: str) -> tuple[str, str]:
    """Return (suite, layers) of a snapshot. Raises LabError when there is none."""
    record = read(_place(run_directory, label) / "snapshot.json")
    if not record:
        known = sorted(path.parent.name for path in run_directory.glob("snapshots/*/snapshot.json"))
        raise LabError(f"the run {run_directory.name} has no snapshot {label!r}; it has: {', '.join(known) or 'none'}")
    return record["suite"], record["lower"]
