"""What hosts have downloaded is lent to later ones, so that a second deployment downloads nothing.

Packages are hard links and not a shared directory: two hosts would fight for apt's lock in it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lab.state import CACHE

ARCHIVES = "var/cache/apt/archives"


def _kept(suite: str) -> Path:
    return CACHE / "apt" / suite


def lend(root: Path, upper: Path, suite: str) -> None:
    """Put the packages of a suite where the host's apt looks first. The host must be down."""
    (root / ARCHIVES / ".lent").touch()  # the overlay copies the directory up
    for package in _kept(suite).glob("*.deb"):
        with contextlib.suppress(FileExistsError):
            os.link(package, upper / ARCHIVES / package.name)


def keep(upper: Path, suite: str) -> None:
    """Keep the packages that a host has downloaded; apt verifies each before it uses it."""
    _kept(suite).mkdir(parents=True, exist_ok=True)
    for package in (upper / ARCHIVES).glob("*.deb"):
        if package.is_file() and not package.is_symlink():
            with contextlib.suppress(FileExistsError):
                os.link(package, _kept(suite) / package.name)
