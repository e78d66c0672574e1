"""orchestrator status: how every worker type is."""

from __future__ import annotations

import typer

from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import emit, say, table


def status(url: Url = DEFAULT_URL, key_file: KeyFile = DEFAULT_KEY_FILE, output: Output = Format.TEXT) -> None:
    """Show workers, queues and rates; exits 1 unless all is up."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        report = client.health()
    if output is Format.JSON:
        emit(report)
    else:
        checks = ", ".join(f"{name} {state}" for name, state in report["checks"].items())
        say(f"{report['status']}: {report['error'] or checks}")
        columns = ("TYPE", "STATUS", "SLOTS", "IN HAND", "QUEUED", "RUNNING", "DEAD", "CHUNKS/S")
        keys = ("status", "active_workers", "busy", "queue_depth", "running", "dead", "processing_rate")
        table(columns, [[name, *(kind[key] for key in keys)] for name, kind in report["workers"].items()])
    raise typer.Exit(0 if report["status"] == "up" else 1)
