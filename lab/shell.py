"""Run commands, and say readably what failed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class LabError(Exception):
    """Something of the lab is wrong; the message says what to do."""


def run(*command: str, check: bool = True, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
    """Return the standard output of a command. Raises LabError with the end of what it said when it fails."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=env)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed; run `python3 -m lab doctor`") from error
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise LabError(f"`{' '.join(command)}` failed with {done.returncode}: {said}")
    return done.stdout


def succeeds(command: Sequence[str]) -> bool:
    """Return whether a command exits with 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
