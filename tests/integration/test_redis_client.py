"""Connections to Redis: a command is sent without a task of its own, and is given up all the same."""

from __future__ import annotations

import asyncio
import signal

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from orchestrator.sources import redis_client
from orchestrator.sources.redis_client import connect
from tests.support.servers import redis_server


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "rediss://127.0.0.1:1", "unix:///nowhere"])
def test_every_way_to_redis_has_it(url: str) -> None:
    """Over TCP, TLS and a socket."""
    kind = connect(url).connection_pool.connection_class
    assert issubclass(kind, redis_client._Light) and kind.__mro__[2].__module__ == "redis.asyncio.connection"


async def test_no_command_is_a_task_of_its_own(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in six of a busy worker's moments went into them."""
    client = connect(redis_url)
    await client.ping()
    made = list[object]()
    wait_for = asyncio.wait_for

    async def noted(*args: object, **more: object) -> object:
        made.append(args)
        return await wait_for(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "wait_for", noted)
    await client.set("a", "b")
    assert made == []
    await client.aclose()


async def test_a_server_that_takes_nothing_is_given_up() -> None:
    """It is stopped, and what is sent fits between us no longer: the connection is dropped, and the error says why."""
    with redis_server() as server:
        client = connect(server.url)
        await client.ping()
        connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        connection.socket_timeout = 0.3
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(RedisTimeoutError, match="writing"):
                await connection.send_packed_command([b"x" * (64 << 20)])
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert not connection.is_connected and connection.socket_timeout == 0.3
        await client.connection_pool.release(connection)
        assert await client.ping()
        await client.aclose()
