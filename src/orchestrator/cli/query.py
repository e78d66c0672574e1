"""orchestrator query: ask the graph; prints the answer and what it rests on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url, Workspace
from orchestrator.cli.output import emit, say, say_text


class Mode(StrEnum):
    """How LightRAG retrieves."""

    LOCAL = "local"
    GLOBAL = "global"
    HYBRID = "hybrid"
    NAIVE = "naive"
    MIX = "mix"


def query(
    question: Annotated[str, typer.Argument(help="The question.")],
    *,
    mode: Annotated[Mode, typer.Option(help="How to retrieve.")] = Mode.HYBRID,
    workspace: Workspace = None,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Ask the graph of a workspace."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = client.query(question, mode=mode, workspace=workspace)
    if output is Format.JSON:
        emit(found)
        return
    say_text(found["answer"])
    if found["sources"]:
        say("")
        say("Sources:")
        for source in found["sources"]:
            say(f"  {source}")
