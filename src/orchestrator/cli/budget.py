"""orchestrator budget and usage: what jobs may cost, and what tenants have used."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import emit, say, table
from orchestrator.errors import OrchestratorError

NO_LIMIT = "none"
DECIMALS = 6


def budget(
    job_id: Annotated[str, typer.Argument(help="Id of the job.")],
    amount: Annotated[str, typer.Argument(help="What it may cost altogether; none: as much as it will.")],
    *,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Set what a job's model calls may cost; one that was paused because that was spent goes on."""
    from orchestrator.cli.client import Client, job_path

    wish = None if amount == NO_LIMIT else _number(amount)
    with Client.connect(url, key_file) as client:
        found = client.patch(job_path(job_id), {"budget": wish})
    if output is Format.JSON:
        emit(found)
        return
    held = "; ".join(f"{p['scope']} {p['name']}: {p['reason'] or '-'}" for p in found["paused"])
    used = found["usage"]
    limit = "no limit" if used["budget"] is None else f"of {used['budget']:g}"
    say(f"job {found['job_id']}: {used['cost']:g} spent {limit}; {'held back: ' + held if held else found['status']}")


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise OrchestratorError(f"AMOUNT must be a number >= 0, or {NO_LIMIT}; got {text!r}")
    return found


def usage(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only jobs submitted since, such as 2026-01-31T00:00:00Z.", metavar="TIME")
    ] = None,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Show calls, tokens and cost of the model calls of each tenant."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = client.get("/usage", tenant=tenant, since=since)
    if output is Format.JSON:
        emit(found)
        return
    keys = ("tenant", "jobs", "model_calls", "prompt_tokens", "completion_tokens")
    rows = [[*(t[key] for key in keys), round(t["cost"], DECIMALS)] for t in found["tenants"]]
    table(("TENANT", "JOBS", "CALLS", "PROMPT TOKENS", "COMPLETION TOKENS", "COST"), rows)
