"""How we connect to Redis, and what its errors become."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MaxConnectionsError,
    NoPermissionError,
    ReadOnlyError,
    TimeoutError,
)

from orchestrator.errors import DependencyError, RefusedError

UNREACHABLE = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, MaxConnectionsError, OSError)
SOCKET_SLACK_SECONDS = 10.0


if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection as Connection
else:
    Connection = object


class _Light(Connection):
    """Part of a connection: redis-py makes a task of whatever it sends, to give it a time limit; this makes none."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        if not self.is_connected:
            await super().send_packed_command(command, check_health)
            return
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        seconds, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health=False)
        except builtins.TimeoutError:
            raise TimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = seconds


def connect(url: str, *, read_block_seconds: float = 1.0, text: bool = False) -> redis.Redis:
    """Return a client of `url`, not yet connected; `text`: its replies are str, whatever bytes a stranger wrote.

    Its socket timeout lies above the longest block: redis-py's own default would cut blocking reads.
    """
    pool = redis.ConnectionPool.from_url(
        url,
        socket_timeout=read_block_seconds + SOCKET_SLACK_SECONDS,
        socket_connect_timeout=5.0,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1),  # one fresh connection; the loops above know better how to wait
        max_connections=256,
        decode_responses=text,
        encoding_errors="replace" if text else "strict",
    )
    pool.connection_class = type("LightConnection", (_Light, pool.connection_class), {})  # over TCP, TLS or a socket
    return redis.Redis.from_pool(pool)


def script(name: str) -> str:
    """Return the text of `lua/<name>.lua`."""
    return (files("orchestrator.sources") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


@contextmanager
def reachable(what: str, advice: str = "check `systemctl status redis-server`") -> Iterator[None]:
    """Turn what Redis being away looks like into DependencyError; never with the URL, which holds a password.

    RefusedError when it is there and will have nothing to do with us.
    """
    try:
        yield
    except AuthenticationError as error:  # a ConnectionError, too; a password may be mended while we wait
        look = "check credential redis-url, or source-url where the queue has a Redis of its own"
        raise RefusedError(f"Redis refuses our user ({error}, while trying to {what}); {look}") from error
    except UNREACHABLE as error:
        kind = type(error).__name__
        raise DependencyError(f"Redis does not answer ({kind} while trying to {what}); {advice}") from error
    except NoPermissionError as error:
        raise RefusedError(f"Redis lets its user not {what}: {error}; check the role's ACL file") from error
