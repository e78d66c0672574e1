"""Options that several commands share, and how a command says how it ended."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

ETC = Path("/etc/orchestrator")
CLI_CREDENTIALS = ETC / "credentials" / "cli"


class Format(StrEnum):
    """What a reading command prints."""

    TEXT = "text"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="json: machine-readable output only.")]
Url = Annotated[str, typer.Option(help="Where the API answers.", metavar="URL")]
KeyFile = Annotated[Path, typer.Option(help="File that holds the API key.", metavar="FILE")]
SettingsDir = Annotated[Path, typer.Option("--settings", help="Directory of the settings modules.", metavar="DIR")]
CredentialsDir = Annotated[
    Path | None,
    typer.Option("--credentials", help="Directory of the credentials; default: systemd's.", metavar="DIR"),
]
Workspace = Annotated[str | None, typer.Option(help="LightRAG workspace; default: the key's own.", metavar="NAME")]

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_KEY_FILE = CLI_CREDENTIALS / "api-key"
