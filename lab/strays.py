"""What interrupted runs have left behind: known by its names, removed when it belongs to no run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from lab import cgroup, network
from lab.host import NSPAWN
from lab.run import Run
from lab.shell import RunGoneError, run
from lab.state import RUNS, locked


def prune() -> Iterator[str]:
    """Remove abandoned runs, then what belongs to none; yield what each was."""
    for found in list(Run.all()):
        if not found.abandoned():
            continue
        try:
            with found.alone():
                found.down()
        except RunGoneError:  # somebody else prunes too
            continue
        yield f"run {found.name}"
    with locked():  # nobody begins a run meanwhile
        runs = list(Run.all())
        numbers = {found.number for found in runs}
        yield from _groups(numbers)
        yield from _networks(numbers)
        yield from _mounts([found.directory for found in runs])
        yield from _directories(numbers, {found.directory for found in runs})


def _groups(numbers: set[int]) -> Iterator[str]:
    for name in sorted(cgroup.names()):
        number = network.number_of(name)
        if number is not None and number not in numbers and cgroup.remove(name):
            yield f"processes and control groups of {name}"


def _networks(numbers: set[int]) -> Iterator[str]:
    for number in sorted(network.numbers_made() - numbers):
        network.down(number)
        yield f"links and rules of {network.bridge(number)}"


def _mounts(known: list[Path]) -> Iterator[str]:
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        mount = Path(line.split()[1])
        if mount.is_relative_to(RUNS) and not any(mount.is_relative_to(directory) for directory in known):
            run("umount", str(mount))
            yield f"mount {mount}"


def _directories(numbers: set[int], known: set[Path]) -> Iterator[str]:
    unknown = [directory for directory in sorted(RUNS.glob("*")) if directory not in known]
    for path in sorted(NSPAWN.glob("propagate/*")):
        number = network.number_of(path.name)
        if number is not None and number not in numbers:
            unknown.append(path)
    for directory in unknown:
        shutil.rmtree(directory)
        yield f"directory {directory}"
