"""What deployments and operators run on a host: check-settings, migrate, consumers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator import keys
from orchestrator.cli.options import CLI_CREDENTIALS, ETC, CredentialsDir, Format, Output, SettingsDir
from orchestrator.cli.output import emit, say, table
from orchestrator.errors import CredentialError, DependencyError, OrchestratorError, SettingsError
from orchestrator.settings import WorkerPoolSettings, WorkerTypeSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.settings.load import load, read

if TYPE_CHECKING:
    from orchestrator.sources.redis_stream import ConsumerInfo

PENDING = 3


def check_settings(
    files: Annotated[list[Path], typer.Argument(help="Rendered settings modules.", metavar="FILE…")],
) -> None:
    """Check settings modules; exits 1 with the reason when one is wrong."""
    for file in files:
        say(f"{file}: {type(read(file)).__name__} is right")


def migrate(
    credentials: CredentialsDir = None,
    grant: Annotated[list[str] | None, typer.Option(help="Role that may read and write rows.", metavar="ROLE")] = None,
    grant_read: Annotated[list[str] | None, typer.Option(help="Role that may read rows.", metavar="ROLE")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 3 when migrations are pending.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Bring the ledger's schema up to date, as its owner (credential migrate-dsn)."""
    dsn = Credentials.given(credentials).read("migrate-dsn")
    names = _migrate(dsn, tuple(grant or ()), tuple(grant_read or ()), check)
    if output is Format.JSON:
        emit({"pending" if check else "applied": names})
    elif names:
        say("pending:" if check else "applied:", ", ".join(names))
    else:
        say("the schema is up to date")
    raise typer.Exit(PENDING if check and names else 0)


def _migrate(dsn: str, writers: tuple[str, ...], readers: tuple[str, ...], check: bool) -> list[str]:
    import asyncpg

    from orchestrator.ledger import schema

    if not dsn.startswith(("postgresql://", "postgres://")):
        raise CredentialError("credential 'migrate-dsn' is no DSN; it must be postgresql://user:password@host/name")
    try:
        act = schema.pending(dsn) if check else schema.migrate(dsn, grant_to=writers, read_to=readers)
        return asyncio.run(act)
    except asyncpg.PostgresError as error:  # its message holds names, never the DSN
        raise OrchestratorError(f"migration failed, nothing of it was left behind: {error}") from error
    except ValueError as error:  # asyncpg's for a DSN it cannot read
        raise CredentialError("credential 'migrate-dsn' cannot be read; check host, port and quoting") from error


def consumers(
    settings: SettingsDir = ETC,
    credentials: Annotated[Path, typer.Option(help="Directory of the credentials.", metavar="DIR")] = CLI_CREDENTIALS,
    worker_type: Annotated[str | None, typer.Option("--type", help="Only this worker type.", metavar="TYPE")] = None,
    output: Output = Format.TEXT,
) -> None:
    """Compare the consumers this host must have with those registered; exits 1 when they differ."""
    pool = load(settings / "workers" / "worker_pool.py", WorkerPoolSettings)
    types = _with_consumers(pool, worker_type)
    registered = asyncio.run(_registered(types, Credentials.given(credentials)))
    report = {t.name: compare(pool.host, t, *registered[t.name]) for t in types}
    wrong = [line for name, found in report.items() for line in differences(name, found)]
    if output is Format.JSON:
        emit({"ok": not wrong, "differences": wrong, "types": report})
    else:
        columns = ("TYPE", "CONSUMER", "EXPECTED", "PENDING", "IDLE S")
        rows = [
            (name, c["name"], c["place"], c["pending"], c["idle_seconds"])
            for name, found in report.items()
            for c in found["registered"]
        ]
        table(columns, rows)
        for line in wrong:
            say(line)
    raise typer.Exit(1 if wrong else 0)


def _with_consumers(pool: WorkerPoolSettings, asked: str | None) -> list[WorkerTypeSettings]:
    """Return the types whose queue knows consumers. Raises SettingsError when one was asked for that does not."""
    types = [pool.for_type(name) for name in ([asked] if asked else sorted(pool.types))]
    if asked and not types[0].own_queue:
        check = f"orchestrator check-source {asked}"
        raise SettingsError(f"types[{asked!r}]: source {types[0].source!r} has no consumers to list; use `{check}`")
    return [kind for kind in types if kind.own_queue]


def compare(
    host: str, kind: WorkerTypeSettings, groups: Sequence[str], registered: Sequence[ConsumerInfo]
) -> dict[str, Any]:
    """Return what is expected of this host, what is registered, and how they differ. Pure.

    Names that do not begin with this host and type are other hosts': listed, never counted as wrong.
    """
    expected = [keys.consumer(host, kind.name, slot) for slot in range(kind.size)]
    prefix = keys.consumer(host, kind.name, 0).removesuffix("0")
    names = {c.name for c in registered}
    mine = {n for n in names if n.startswith(prefix) and n.removeprefix(prefix).isdigit()}
    places = {n: "yes" if n in expected else "no" if n in mine else "elsewhere" for n in names}
    return {
        "stream": kind.stream,
        "group": kind.group,
        "groups": sorted(groups),
        "expected": expected,
        "missing": [n for n in expected if n not in names],
        "unexpected": sorted(mine - set(expected)),
        "registered": [
            {"name": c.name, "place": places[c.name], "pending": c.pending, "idle_seconds": round(c.idle_seconds, 1)}
            for c in sorted(registered, key=lambda c: c.name)
        ],
    }


def differences(name: str, found: Mapping[str, Any]) -> list[str]:
    """Return a line for each way in which a type's consumers differ from what is expected, and what to look at."""
    lines = []
    look = f"journalctl -u orchestrator-worker@{name}"
    if found["group"] not in found["groups"]:
        has = ", ".join(found["groups"]) or "none"
        lines.append(f"{name}: stream {found['stream']} has no group {found['group']}, has {has}; see {look}")
    if found["missing"]:
        lines.append(f"{name}: not registered in group {found['group']}: {', '.join(found['missing'])}; see {look}")
    if found["unexpected"]:
        mend = f"systemctl restart orchestrator-worker@{name} retires those that hold nothing"
        lines.append(f"{name}: registered but not expected: {', '.join(found['unexpected'])}; {mend}")
    return lines


async def _registered(
    types: Sequence[WorkerTypeSettings], credentials: Credentials
) -> dict[str, tuple[list[str], list[ConsumerInfo]]]:
    """Return what XINFO GROUPS and XINFO CONSUMERS say of each type."""
    from redis.exceptions import AuthenticationError, NoPermissionError

    from orchestrator.sources.redis_stream import RedisStreamSource, connect

    client = connect(credentials.read("redis-url"))
    try:
        found = {}
        for t in types:
            source = RedisStreamSource(client, stream=t.stream, group=t.group, lease_seconds=t.lease_seconds)
            found[t.name] = (await source.groups(), await source.consumers())
        return found
    except (AuthenticationError, NoPermissionError) as error:
        raise DependencyError(
            f"Redis refuses the user of credential redis-url in {credentials.directory}: {error}"
        ) from error
    finally:
        await client.aclose()
