"""orchestrator doctor: what is wrong on this host and with its workers, and the mending of what is safe."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import (
    CLI_CREDENTIALS,
    DEFAULT_KEY_FILE,
    DEFAULT_URL,
    ETC,
    Format,
    KeyFile,
    Output,
    SettingsDir,
    Url,
)
from orchestrator.cli.output import emit, say
from orchestrator.errors import DependencyError, OrchestratorError
from orchestrator.settings import WorkerPoolSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.settings.load import load
from orchestrator.why import remedies

KEYS = "ansible-playbook site.yml writes the key of the command line anew; --key-file must hold one of all tenants"
SYSTEMD = Path("/run/systemd/system")
Fix = Annotated[bool, typer.Option("--fix", help="Mend what cannot lose work or do it twice.")]


def doctor(
    *,
    fix: Fix = False,
    settings: SettingsDir = ETC,
    credentials: Annotated[Path, typer.Option(help="Directory of the credentials.", metavar="DIR")] = CLI_CREDENTIALS,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Say what is wrong and what mends it; exits 1 unless all is well. Works without the API, but then sees less."""
    from orchestrator.cli.client import Client

    found: list[dict[str, Any]] = asyncio.run(_servers(Credentials.given(credentials)))
    found += _units(load(settings / "workers" / "worker_pool.py", WorkerPoolSettings))
    done: list[str] = []
    try:
        with Client.connect(url, key_file) as client:
            diagnosis = client.post("/doctor") if fix else client.get("/doctor")
        found += diagnosis["findings"]
        done = diagnosis["done"]
    except OrchestratorError as error:
        away = isinstance(error, DependencyError)
        found.append(_finding("api", str(error), remedies.restart("orchestrator-api") if away else KEYS))
    if output is Format.JSON:
        emit({"well": not found, "findings": found, "done": done})
    else:
        _show(found, done)
    raise typer.Exit(1 if found else 0)


def _show(found: list[dict[str, Any]], done: list[str]) -> None:
    for act in done:
        say(f"mended: {act}")
    for finding in found:
        whose = f"{finding['worker_type']}: " if finding["worker_type"] else ""
        say(f"- {whose}{finding['text']}")
        say(f"    {finding['remedy']}")
    if not found:
        say("all is well")


def _finding(complaint: str, text: str, remedy: str) -> dict[str, Any]:
    return {"complaint": complaint, "worker_type": "", "text": text, "remedy": remedy, "safe": False}


async def _servers(credentials: Credentials) -> list[dict[str, Any]]:
    """Ask PostgreSQL and Redis with the credentials of the command line."""
    return [*await _postgresql(credentials.read("postgres-dsn")), *await _redis(credentials.read("redis-url"))]


async def _postgresql(dsn: str) -> list[dict[str, Any]]:
    import asyncpg

    from orchestrator.ledger import Ledger

    try:
        ledger = await Ledger.open(dsn, connections=1, name="orchestrator doctor")
        await ledger.close()
    except DependencyError as error:
        return [_finding("postgresql", str(error), remedies.restart("postgresql"))]
    except asyncpg.PostgresError as error:  # its message names role and database, never the password
        text = f"PostgreSQL refuses the role of credential postgres-dsn: {error}"
        return [_finding("wrong_credentials", text, "ansible-playbook site.yml writes roles and credentials anew")]
    return []


async def _redis(url: str) -> list[dict[str, Any]]:
    from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

    from orchestrator.sources.redis_client import connect

    client = connect(url)
    try:
        await client.ping()
    except (AuthenticationError, NoPermissionError) as error:
        text = f"Redis refuses the user of credential redis-url: {error}"
        return [_finding("wrong_credentials", text, remedies.REDIS_REFUSES)]
    except (RedisError, OSError) as error:
        text = f"Redis does not answer ({type(error).__name__})"
        return [_finding("redis", text, remedies.REDIS_AWAY)]
    finally:
        await client.aclose()
    return []


def _units(pool: WorkerPoolSettings) -> list[dict[str, Any]]:
    """Return the units of ours that are not running, with what they say of themselves."""
    if not SYSTEMD.is_dir():
        return []
    units = [
        "orchestrator-workers",
        "orchestrator-api",
        *(f"orchestrator-worker@{name}" for name in sorted(pool.types)),
    ]
    return [finding for unit in units if (finding := _unit(unit)) is not None]


def _unit(unit: str) -> dict[str, Any] | None:
    shown = subprocess.run(
        ["systemctl", "show", "-p", "ActiveState,LoadState,StatusText", unit],
        check=False, capture_output=True, text=True, timeout=10,
    )  # fmt: skip
    values = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    waiting = values.get("StatusText", "").startswith("waiting:")
    if values.get("LoadState") == "not-found" or (values.get("ActiveState") == "active" and not waiting):
        return None
    said = f": {values['StatusText']}" if values.get("StatusText") else ""
    remedy = f"{remedies.WAIT}: it goes on by itself once what it waits for is there" if waiting else None
    return _finding("unit", f"{unit} is {values.get('ActiveState', 'unknown')}{said}", remedy or remedies.restart(unit))
