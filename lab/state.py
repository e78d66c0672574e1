"""Where the lab keeps what it knows: one directory a run, base images beside them, one lock for all."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path("/var/tmp/orchestrator-lab")  # noqa: S108 - root's own directory, mode 0700
RUNS = ROOT / "runs"
BASES = ROOT / "base"
CACHE = ROOT / "cache"


@contextmanager
def locked(name: str = "lock") -> Iterator[None]:
    """Hold one of the lab's locks; whoever else wants it waits."""
    ROOT.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (ROOT / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def read(path: Path) -> dict[str, Any]:
    """Return a JSON object, an empty one when the file is absent or half written."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.rename(path)
