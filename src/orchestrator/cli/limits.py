"""orchestrator limits: what each model endpoint bears now, and what waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import emit, say, table


def limits(url: Url = DEFAULT_URL, key_file: KeyFile = DEFAULT_KEY_FILE, output: Output = Format.TEXT) -> None:
    """Show the model endpoints in use and their limiters."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = client.get("/limits")["endpoints"]
    if output is Format.JSON:
        emit(found)
        return
    if not found:
        say("no model endpoint was called within the last hour")
        return
    columns = ("KIND", "MODEL", "IN USE", "LIMIT", "CEILING", "WAITING", "THROTTLED UNTIL", "REFUSED", "CAPS", "URL")
    table(columns, [_row(endpoint) for endpoint in found])


def _row(endpoint: Mapping[str, Any]) -> tuple[Any, ...]:
    caps = [f"{endpoint['requests_per_minute']} requests/min"] if endpoint["requests_per_minute"] else []
    caps += [f"{endpoint['tokens_per_minute']} tokens/min"] if endpoint["tokens_per_minute"] else []
    names = ("kind", "model", "in_use", "limit", "ceiling", "waiting")
    until = (endpoint["throttled_until"] or "-")[:19].replace("T", " ")
    return *(endpoint[name] for name in names), until, endpoint["refused"], ", ".join(caps) or "-", endpoint["url"]
