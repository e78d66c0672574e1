"""The servers the other tests stand on are what they claim to be."""

from __future__ import annotations

import asyncpg


async def test_postgresql_has_pgvector(database: str) -> None:
    """Tests prove vector storage against the real extension."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE EXTENSION vector")
    assert await connection.fetchval("SELECT '[1,2]'::vector <-> '[1,2]'::vector") == 0
    await connection.close()
