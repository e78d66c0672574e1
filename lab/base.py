"""Base images: a Debian tree for each suite, built once and kept; hosts are overlays on it."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from lab.shell import LabError, run
from lab.state import BASES, locked

SUITES = ("trixie", "bookworm")
PACKAGES = (
    "systemd systemd-sysv systemd-resolved dbus python3 python3-apt python3-venv openssh-server ca-certificates curl "
    "iproute2 iputils-ping acl procps tzdata less"
)
LONG_AGO = 946684800  # so that the apt module does not believe the lists to be fresh


def tree(suite: str) -> Path:
    """Return the base tree of a suite, building it if there is none. Raises LabError."""
    if suite not in SUITES:
        raise LabError(f"no suite {suite!r}; there are {', '.join(SUITES)}")
    wanted = PACKAGES.replace("systemd-resolved ", "") if suite == "bookworm" else PACKAGES
    wanted = wanted.replace("systemd-resolved ", "")
    mark = hashlib.sha256(wanted.encode()).hexdigest()[:8]
    directory = BASES / f"{suite}-{mark}"
    with locked(f"base-{suite}.lock"):
        if not (directory / ".complete").exists():
            _build(suite, wanted, directory)
    return directory


def _build(suite: str, packages: str, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    include = "--include=" + packages.replace(" ", ",")
    run("mmdebstrap", "--quiet", "--variant=minbase", "--format=directory", include, suite, str(directory))
    for path in directory.glob("etc/ssh/ssh_host_*"):
        path.unlink()
    (directory / "etc/machine-id").write_text("uninitialized\n", encoding="ascii")
    os.utime(directory / "var/lib/apt/lists", (LONG_AGO, LONG_AGO))
    (directory / ".complete").touch()
