"""Versioned migrations: each runs once, in order, in a transaction of its own, one migrator at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from orchestrator.errors import DependencyError
from orchestrator.keys import lock_id
from orchestrator.ledger.database import UNREACHABLE
from orchestrator.ledger.statements import migrations

if TYPE_CHECKING:
    from orchestrator.ledger.database import Connection

LOCK = lock_id("orchestrator:migrate")
READ = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
)
WRITE = (
    *READ,
    "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON schema_version FROM {role}",
)


async def pending(dsn: str) -> list[str]:
    """Return the names of migrations the database has not seen."""
    connection = await _connect(dsn)
    try:
        return [name for version, name, _ in migrations() if version > await _version(connection)]
    finally:
        await connection.close()


async def migrate(dsn: str, *, grant_to: tuple[str, ...] = (), read_to: tuple[str, ...] = ()) -> list[str]:
    """Bring the schema up to date as its owner; return the names of the migrations that ran.

    `grant_to` names roles that may read and write rows, `read_to` such as may read them, and no more. Raises
    DependencyError when PostgreSQL does not answer; asyncpg's error when a migration fails, with nothing of that
    migration left behind.
    """
    connection = await _connect(dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        done = []
        current = await _version(connection)
        for version, name, text in migrations():
            if version > current:
                async with connection.transaction():
                    await connection.execute(text)
                    await connection.execute(
                        "INSERT INTO schema_version (version, name) VALUES ($1, $2)", version, name
                    )
                done.append(name)
        for role in grant_to:
            await _grant(connection, role, WRITE)
        for role in read_to:
            await _grant(connection, role, READ)
        return done
    finally:
        await connection.close()


async def _connect(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    try:
        return await asyncpg.connect(dsn, timeout=10.0)
    except UNREACHABLE as error:
        raise DependencyError(f"PostgreSQL does not answer ({type(error).__name__})") from error


async def _version(connection: Connection) -> int:
    if await connection.fetchval("SELECT to_regclass('schema_version')") is None:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version "
            "(version int PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
        )
    found = await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_version")
    return int(found)


async def _grant(connection: Connection, role: str, statements: tuple[str, ...]) -> None:
    quoted = await connection.fetchval("SELECT quote_ident($1)", role)
    for statement in statements:
        await connection.execute(statement.format(role=quoted))
