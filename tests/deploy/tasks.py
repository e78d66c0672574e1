"""Roles and playbooks as data: every task of ours, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.ansible import PROJECT

NESTED = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")


@dataclass(frozen=True, slots=True)
class Task:
    """One task, where it stands, and what it does."""

    path: Path
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """Return its file and its name."""
        return f"{self.path.relative_to(PROJECT)}: {self.values.get('name', '?')}"

    @property
    def role(self) -> Path:
        """Return the directory of the role it belongs to."""
        return PROJECT / "roles" / self.path.relative_to(PROJECT / "roles").parts[0]

    def of(self, module: str) -> dict[str, Any] | None:
        """Return the module's arguments when that is what the task runs."""
        found = self.values.get(f"ansible.builtin.{module}", self.values.get(module))
        return {"_": found} if isinstance(found, str) else found


def tasks_in(values: object, path: Path) -> Iterator[Task]:
    """Yield the tasks of a parsed file, those within plays and blocks too."""
    for entry in values if isinstance(values, list) else []:
        yield Task(path, entry)
        for key in NESTED:
            yield from tasks_in(entry.get(key), path)


def files() -> Iterator[Path]:
    """Yield every file that holds tasks or plays."""
    yield from sorted((PROJECT / "roles").glob("*/tasks/*.yml"))
    yield from sorted((PROJECT / "roles").glob("*/handlers/*.yml"))
    yield from sorted((PROJECT / "playbooks").glob("*.yml"))
    yield from sorted((PROJECT / "molecule").glob("*/*.yml"))
    yield PROJECT / "site.yml"


def tasks(of: str = "") -> list[Task]:
    """Return every task, or those of a directory of the project."""
    under = PROJECT / of
    found = [path for path in files() if path.is_relative_to(under)]
    return [task for path in found for task in tasks_in(yaml.safe_load(path.read_text(encoding="utf-8")), path)]
