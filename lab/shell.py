"""Run commands, and say readably what failed."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Sequence
from typing import Any


class LabError(Exception):
    """What went wrong, where, and what to do next; printed without a traceback."""


class RunGoneError(LabError):
    """A run was removed by somebody else."""


def run(*command: str, timeout: float = 60.0) -> str:
    """Return the standard output of a command. Raises LabError with the end of what it said when it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed; run `python3 -m lab doctor`") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{shlex.join(command)}` did not end within {timeout:g} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing")[-2000:]
        raise LabError(f"`{shlex.join(command)}` failed with {done.returncode}: {said}")
    return done.stdout


def succeeds(command: Sequence[str]) -> bool:
    """Return whether a command exits with 0, within a minute."""
    try:
        run(*command)
    except LabError:
        return False
    return True


def answer(*command: str) -> Any:
    """Return what a command that prints JSON has printed."""
    return json.loads(run(*command) or "[]")
