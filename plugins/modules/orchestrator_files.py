#!/usr/bin/python3
"""Write many files and directories in one run of a module."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: orchestrator_files
short_description: Write many files and directories in one run
description:
  - Makes directories and files what they are said to be.
  - Tasks of ansible.builtin.template, copy and file run one or two modules for each item. They took half of the time of
    a deployment that had nothing to change.
author: The orchestrator-workers founders
options:
  under:
    description: Where paths that are not absolute begin.
    type: path
    default: /
  directories:
    description: Directories to make, each after those it lies in. A link to one is followed.
    type: list
    elements: dict
    default: []
    options:
      path: {description: Which one., type: path, required: true}
      mode: {description: Its permissions in octal., type: str, default: "0755"}
      owner: {description: Whose it is., type: str, default: root}
      group: {description: Whose group's it is., type: str, default: root}
  files:
    description: Files to write, each in one step. A link is replaced.
    type: list
    elements: dict
    default: []
    options:
      path: {description: Which one., type: path, required: true}
      content: {description: All that is in it., type: str, required: true}
      mode: {description: Its permissions in octal., type: str, default: "0644"}
      owner: {description: Whose it is., type: str, default: root}
      group: {description: Whose group's it is., type: str, default: root}
      validate:
        description: A command that ends with 0 when the contents at %s are sound. Else the file stays as it was.
        type: str
  purge:
    description: Directories below which nothing stays that is not among the files and directories.
    type: list
    elements: path
    default: []
attributes:
  check_mode: {description: Says what differs and changes nothing., support: full}
  diff_mode: {description: Shows contents before and after., support: full}
"""

EXAMPLES = r"""
- name: Write the units
  orchestrator_files:
    under: /etc/systemd/system
    files:
      - {path: one.service, content: "{{ lookup('ansible.builtin.template', 'one.service.j2') }}"}
  notify: Let systemd read the units
"""

RETURN = r"""
paths:
  description: What was not as it is to be.
  returned: always
  type: list
  elements: str
"""

ANYTHING: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
DIRECTORY: dict[str, Any] = {**ANYTHING, "mode": {"type": "str", "default": "0755"}}
FILE: dict[str, Any] = {
    **ANYTHING,
    "mode": {"type": "str", "default": "0644"},
    "content": {"type": "str", "required": True},
    "validate": {"type": "str"},
}
ARGUMENTS: dict[str, Any] = {
    "under": {"type": "path", "default": "/"},
    "directories": {"type": "list", "elements": "dict", "default": [], "options": DIRECTORY},
    "files": {"type": "list", "elements": "dict", "default": [], "options": FILE},
    "purge": {"type": "list", "elements": "path", "default": []},
}


class UnsoundError(Exception):
    """What was to be written is not sound; the message is that of the command that says so."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What directories and files have in common."""

    path: Path
    mode: int
    owner: str
    group: str

    def _is_anothers(self) -> bool:
        found = self.path.stat()
        return (found.st_mode & 0o7777, *_names(found)) != (self.mode, self.owner, self.group)


@dataclass(frozen=True, slots=True)
class Directory(Entry):
    """A directory that is to be there."""

    def differs(self) -> bool:
        """Return whether it is missing, or another's, or has other permissions."""
        return not self.path.is_dir() or self._is_anothers()

    def mend(self) -> None:
        """Make it, with those it lies in, or take it into possession."""
        self.path.mkdir(parents=True, exist_ok=True)
        _own(self.path, self.owner, self.group)
        self.path.chmod(self.mode)


@dataclass(frozen=True, slots=True)
class File(Entry):
    """A file that is to be there, with its contents."""

    content: bytes
    validate: str | None

    def differs(self) -> bool:
        """Return whether it is missing, a link, another's, or has other permissions or contents."""
        if self.path.is_symlink() or not self.path.is_file():
            return True
        return self._is_anothers() or self.path.read_bytes() != self.content

    def mend(self) -> None:
        """Write it; nobody reads half of it, and nobody who may not read it any of it."""
        draft = self.path.with_name(f".{self.path.name}.draft")
        draft.unlink(missing_ok=True)
        try:
            draft.touch(mode=0o600)
            draft.write_bytes(self.content)
            self._check(draft)
            _own(draft, self.owner, self.group)
            draft.chmod(self.mode)
            draft.rename(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def _check(self, draft: Path) -> None:
        if self.validate is None:
            return
        command = [word.replace("%s", str(draft)) for word in shlex.split(self.validate)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise UnsoundError((done.stderr + done.stdout).strip())


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file, or a directory that is empty by then, that is to go."""

    path: Path

    def mend(self) -> None:
        """Remove it."""
        if self.path.is_dir() and not self.path.is_symlink():
            self.path.rmdir()
        else:
            self.path.unlink()


def _names(found: os.stat_result) -> tuple[str, str]:
    """Return owner and group by name, or by number where there is no such user."""
    try:
        return pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        return str(found.st_uid), str(found.st_gid)


def _own(path: Path, owner: str, group: str) -> None:
    """Give a path to its owner. Raises LookupError when there is no such user or group."""
    os.chown(path, pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid)


def acts(wanted: Mapping[Path, Directory | File], purge: list[Path]) -> Iterator[Directory | File | Leftover]:
    """Yield what is not as it is to be, in an order in which it can be mended."""
    yield from (each for each in wanted.values() if each.differs())
    for path in sorted((found for top in purge for found in top.rglob("*")), reverse=True):
        if path not in wanted:
            yield Leftover(path)


def difference(file: File) -> dict[str, str]:
    """Return a file before and after, as --diff shows it."""
    before = file.path.read_text(encoding="utf-8", errors="replace") if file.path.is_file() else ""
    header = str(file.path)
    return {"before_header": header, "after_header": header, "before": before, "after": file.content.decode()}


def wanted_of(given: Mapping[str, Any], top: Path) -> Iterator[Directory | File]:
    """Yield the directories, then the files, of the module's arguments. Raises ValueError for a mode that is none."""
    for each in given["directories"]:
        yield Directory(top / each["path"], int(each["mode"], 8), each["owner"], each["group"])
    for each in given["files"]:
        basics = (top / each["path"], int(each["mode"], 8), each["owner"], each["group"])
        yield File(*basics, each["content"].encode(), each["validate"])


class Run:
    """One run of the module: what has changed so far, and what is at work."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.changed: list[str] = []
        self.diff: list[dict[str, str]] = []
        self.at = module.params["under"]

    def do(self) -> None:
        """Make what differs as it is to be, or only say it. Raises OSError, LookupError, ValueError, UnsoundError."""
        top = Path(self._module.params["under"])
        wanted = {each.path: each for each in wanted_of(self._module.params, top)}
        for each in acts(wanted, [top / path for path in self._module.params["purge"]]):
            self.at = str(each.path)
            if isinstance(each, File) and self._module._diff:
                self.diff.append(difference(each))
            if not self._module.check_mode:
                each.mend()
            self.changed.append(self.at)


def main() -> None:
    """Run, and say what was done."""
    # what is in the files is no line for the host's journal
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, no_log=True)
    run = Run(module)
    try:
        run.do()
    except (OSError, LookupError, ValueError, UnsoundError) as error:
        module.fail_json(msg=f"{run.at}: {error}", changed=bool(run.changed), paths=run.changed)
    module.exit_json(changed=bool(run.changed), paths=run.changed, diff=run.diff)


if __name__ == "__main__":
    main()
