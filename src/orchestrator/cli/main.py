"""The command line. Commands import what they need when they run, so that `orchestrator --help` is quick."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from orchestrator import __version__
from orchestrator.cli import (
    budget,
    canary,
    check_source,
    controls,
    dead_letters,
    doctor,
    jobs,
    limits,
    operate,
    query,
    serve,
    status,
    submit,
    units,
    watch,
    why,
)
from orchestrator.errors import OrchestratorError
from orchestrator.logs import escape

WORK, OPERATE, PROCESSES = "Work", "Operate", "Processes (run by systemd)"

app = typer.Typer(
    name="orchestrator",
    help="Submit text, follow the work on it, ask the graph, and run the workers that do it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they would print local variables, and those may be secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"orchestrator {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show it.")) -> None:
    """Hold the options of all commands."""


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    WORK: (submit.submit, watch.watch, jobs.jobs, jobs.job, jobs.cancel, why.why, query.query, status.status),
    OPERATE: (
        *(controls.pause, controls.resume, controls.pauses, controls.audit),
        *(budget.budget, budget.usage, limits.limits),
        doctor.doctor,
        *(operate.check_settings, operate.migrate, units.units, operate.consumers),
        *(check_source.check_source, canary.canary),
    ),
    PROCESSES: (serve.worker, serve.supervisor, serve.api, serve.models),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(dead_letters.app, rich_help_panel=OPERATE)


def main() -> None:
    """Run the command line. Errors of ours become one line on standard error and exit code 1."""
    try:
        app()
    except OrchestratorError as error:
        sys.stderr.write(f"orchestrator: {escape(str(error))}\n")
        sys.exit(1)
