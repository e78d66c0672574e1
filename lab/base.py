"""Base images: a Debian tree for each suite, built once and kept; hosts are overlays on it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from lab.machine import Machine
from lab.shell import LabError, run
from lab.state import BASES, locked

SUITES = ("trixie", "bookworm")
PACKAGES = (
    "systemd systemd-sysv dbus python3 python3-apt python3-venv openssh-server ca-certificates curl "
    "iproute2 iputils-ping acl procps tzdata less"
)
BUILD_SECONDS = 900.0


def name(suite: str, machine: Machine) -> str:
    """Return the name of the image: another one when packages or this machine's way to them have changed. Pure."""
    parts = [PACKAGES, machine.archive.lines(suite), machine.apt_options, machine.authorities]
    return f"{suite}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]}"


def tree(suite: str, machine: Machine) -> Path:
    """Return the base tree of a suite, building it if there is none. Raises LabError."""
    if suite not in SUITES:
        raise LabError(f"no suite {suite!r}; there are {', '.join(SUITES)}")
    directory = BASES / name(suite, machine)
    with locked(f"base-{suite}.lock"):
        if not directory.exists():
            sys.stderr.write(f"lab: building the base image {directory.name}, once\n")
            draft = BASES / f".{directory.name}"
            shutil.rmtree(draft, ignore_errors=True)
            _build(suite, machine, draft)
            draft.rename(directory)
    return directory


def _build(suite: str, machine: Machine, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", "--format=directory", f"--include={PACKAGES.replace(' ', ',')}"]
    options += [f"--aptopt={line}" for line in machine.apt_options]
    lines = machine.archive.lines(suite)
    run("mmdebstrap", "--quiet", *options, suite, str(directory), *lines, timeout=BUILD_SECONDS)
    for file, text in machine.authorities.items():
        (directory / "usr/local/share/ca-certificates" / file).write_text(text, encoding="ascii")
    run("chroot", str(directory), "update-ca-certificates")
    for path in directory.glob("etc/ssh/ssh_host_*"):
        path.unlink()
    # as old as can be: the apt module would believe lists of today to be fresh
    os.utime(directory / "var/lib/apt/lists", (0, 0))
