"""Write the credentials that standard input holds as JSON, {path: content}: files of 0600 in directories of 0700.

usage: write_credentials.py DIRECTORY check|write    prints what differed, a path a line; with `check` nothing changes.
What lies below sources/ and is not among them belongs to no worker type any more, and is removed.
One run for all: tasks that loop over the files take a third of a deployment that has nothing to change.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path


def differs(path: Path, mode: int) -> bool:
    """Return whether it is missing, or not ours alone."""
    if not path.exists() or path.is_symlink():
        return True
    found = path.stat()
    return (found.st_mode & 0o7777, found.st_uid, found.st_gid) != (mode, os.geteuid(), os.getegid())


def make(directory: Path) -> None:
    """Make a directory, or take it into possession."""
    directory.mkdir(exist_ok=True)
    os.chown(directory, os.geteuid(), os.getegid())
    directory.chmod(0o700)


def write(path: Path, content: bytes) -> None:
    """Write a file; nobody reads half of it, and nobody else any of it."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.rename(path)


def remove(path: Path) -> None:
    """Remove a file, or a directory that is empty by now."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


def acts(top: Path, wanted: Mapping[Path, bytes]) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield each path that is not as it should be, with what makes it so, in an order in which it can be done."""
    directories = {parent for path in wanted for parent in path.parents if parent.is_relative_to(top)}
    for directory in sorted(directories):
        if differs(directory, 0o700):
            yield directory, partial(make, directory)
    for path, content in wanted.items():
        if differs(path, 0o600) or path.read_bytes() != content:
            yield path, partial(write, path, content)
    for path in sorted((top / "sources").rglob("*"), reverse=True):
        if path not in wanted and path not in directories:
            yield path, partial(remove, path)


def main(top: str, act: str) -> None:
    """Make what differs as it should be, or only say it."""
    wanted = {Path(top, name): content.encode() for name, content in json.load(sys.stdin).items()}
    for path, mend in acts(Path(top), wanted):
        print(path)
        if act == "write":
            mend()


if __name__ == "__main__":
    main(*sys.argv[1:])
