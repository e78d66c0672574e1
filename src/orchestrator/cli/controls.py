"""orchestrator pause, resume, pauses and audit: hold work back, let it go on, see who did what."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from orchestrator.cli.jobs import pages
from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import emit, say, table
from orchestrator.jobs import Scope

What = Annotated[Scope, typer.Argument(help="What is held back.")]
Name = Annotated[str, typer.Argument(help="Name of the type, the queue or the tenant, or the job's id.")]


def pause(
    scope: What,
    name: Name,
    *,
    reason: Annotated[str, typer.Option(help="Why; whoever looks at a job held back is told.")] = "",
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Hold back a worker type, a queue, a tenant or a job: nothing of it starts, what runs goes on to its end."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = client.put(_path(scope, name), {"reason": reason})
    if output is Format.JSON:
        emit(found)
    else:
        say(f"{scope} {name}: held back")


def resume(
    scope: What, name: Name, url: Url = DEFAULT_URL, key_file: KeyFile = DEFAULT_KEY_FILE, output: Output = Format.TEXT
) -> None:
    """Let what was held back go on, within a second."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        client.remove(_path(scope, name))
    if output is Format.JSON:
        emit({"scope": scope, "name": name})
    else:
        say(f"{scope} {name}: goes on")


def pauses(url: Url = DEFAULT_URL, key_file: KeyFile = DEFAULT_KEY_FILE, output: Output = Format.TEXT) -> None:
    """List what is held back."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = client.get("/pauses")["pauses"]
    if output is Format.JSON:
        emit(found)
    else:
        keys = ("scope", "name", "reason", "by", "at")
        table([key.upper() for key in keys], [[p[key] for key in keys] for p in found])


def audit(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Show who did what, newest first."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = pages(client, "/audit", "entries", limit)
    if output is Format.JSON:
        emit(found)
        return
    told = [", ".join(f"{key}={value}" for key, value in e["detail"].items() if value != "") for e in found]
    rows = [(e["at"], e["actor"], e["action"], e["target"], detail) for e, detail in zip(found, told, strict=True)]
    table(("AT", "ACTOR", "ACTION", "TARGET", "DETAIL"), rows)


def _path(scope: Scope, name: str) -> str:
    return f"/pauses/{scope}/{quote(name, safe='')}"
