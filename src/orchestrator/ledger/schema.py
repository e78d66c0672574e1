"""Versioned migrations: each runs once, in order, in a transaction of its own, one migrator at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from orchestrator.errors import DependencyError
from orchestrator.keys import lock_id
from orchestrator.ledger.database import UNREACHABLE
from orchestrator.ledger.statements import migrations, sql

if TYPE_CHECKING:
    from orchestrator.ledger.database import Connection

LOCK = lock_id("orchestrator:migrate")


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
                    await connection.execute(sql("schema_version_add"), version, name)
                done.append(name)
        for role in grant_to:
            await _grant(connection, "grant_write", role)
        for role in read_to:
            await _grant(connection, "grant_read", role)
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
        await connection.execute(sql("schema_version_create"))
    return int(await connection.fetchval(sql("schema_version")))


async def _grant(connection: Connection, statement: str, role: str) -> None:
    """Run a file of GRANTs; a role's name can be no parameter of theirs, so PostgreSQL itself quotes it."""
    quoted = await connection.fetchval("SELECT quote_ident($1)", role)
    await connection.execute(sql(statement).replace(":role", quoted))
