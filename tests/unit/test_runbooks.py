"""What operators are told to type exists: commands and their options, units, playbooks, linked pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from orchestrator.cli.main import app

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
RUNBOOKS = sorted((DOCS / "runbooks").glob("*.md"))
PAGES = [DOCS / "operations.md", *RUNBOOKS]
COMMANDS = typer.main.get_command(app)  # typer carries its own click
UNITS = {path.name.removesuffix(".j2") for path in (PROJECT / "roles").rglob("orchestrator*.service.j2")}


def commands(page: Path) -> Iterator[str]:
    """Yield what stands on a line of a listing, or between backticks."""
    text = page.read_text(encoding="utf-8")
    listings = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for line in "".join(listings).splitlines():
        yield line.partition(" #")[0].strip()
    for spoken in re.findall(r"`([^`\n]+)`", re.sub(r"^```\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        yield spoken.strip()


def wrong(words: list[str]) -> str:
    """Return what our command line does not know of these words; empty when it knows all."""
    command: Any = COMMANDS
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in rest if word.startswith("-") and word not in {*known, "--help"}]
    return f"no option {', '.join(unknown)}" if unknown else ""


def test_what_is_wrong_is_seen() -> None:
    assert wrong(shlex.split("orchestrator mend-all")) == "no command mend-all"
    assert wrong(shlex.split("orchestrator dead-letters list --quick")) == "no option --quick"
    assert wrong(shlex.split("orchestrator dead-letters list --type lightrag")) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_exists(page: Path) -> None:
    ours = [line for line in commands(page) if re.match(r"orchestrator [a-z-]", line)]
    assert ours, "it names no command of ours"
    assert [(line, wrong(shlex.split(line))) for line in ours if wrong(shlex.split(line))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_unit_and_playbook_exists(page: Path) -> None:
    text = "\n".join(commands(page))
    units = {
        name if "@" not in name else f"{name.partition('@')[0]}@" for name in re.findall(r"orchestrator-[a-z]+@?", text)
    }
    assert [name for name in units if f"{name}.service" not in UNITS] == []
    assert [name for name in re.findall(r"playbooks/\w+\.yml", text) if not (PROJECT / name).is_file()] == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_every_linked_page_exists(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+\.md)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_every_runbook_is_linked_and_has_its_parts() -> None:
    """Symptom, what to look at, what mends it; short enough to be read when it is needed."""
    operations = (DOCS / "operations.md").read_text(encoding="utf-8")
    assert len(RUNBOOKS) >= 9
    for page in RUNBOOKS:
        text = page.read_text(encoding="utf-8")
        assert f"(runbooks/{page.name})" in operations
        parts = (
            ("**Backup**", "**Restore.**")
            if page.stem == "restore-from-backup"
            else ("**Symptom.**", "**Look", "**Mend")
        )
        assert all(part in text for part in parts), page.name
        assert len(text.splitlines()) < 60, page.name
