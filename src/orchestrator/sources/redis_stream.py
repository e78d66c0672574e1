"""A Redis Stream as a source: a consumer group, one consumer a slot, entries deleted when they are settled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import redis.asyncio as redis
from redis.exceptions import ResponseError

from orchestrator import keys
from orchestrator.deliveries import Delivery
from orchestrator.errors import SettingsError
from orchestrator.sources.base import SourceSetup
from orchestrator.sources.redis_client import connect, reachable, script
from orchestrator.sources.stream_entry import parse, parse_flat, reference

__all__ = ["ConsumerInfo", "RedisStreamSource", "connect", "create", "publish"]

T = TypeVar("T")
DEAD_LETTERS_KEPT = 10_000
DUE_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class ConsumerInfo:
    """A consumer as XINFO CONSUMERS shows it."""

    name: str
    pending: int
    idle_seconds: float


def create(setup: SourceSetup) -> RedisStreamSource:
    """Return the source of a worker type; credential redis-url. Raises SettingsError and CredentialError."""
    if setup.options:
        raise SettingsError(f"source_options: redis_stream has none; remove {', '.join(sorted(setup.options))}")
    client = connect(setup.credentials.read("redis-url"), read_block_seconds=setup.read_block_seconds)
    return RedisStreamSource(
        client, stream=setup.queue, group=setup.group, lease_seconds=setup.lease_seconds, owns_client=True
    )


async def publish(client: redis.Redis, stream: str, references: Iterable[tuple[str, str, str]]) -> None:
    """Append entries (job_id, chunk_id, workspace) in one round trip. Raises DependencyError."""
    with reachable("publish"):
        async with client.pipeline(transaction=False) as pipe:
            for job_id, chunk_id, workspace in references:
                pipe.xadd(stream, reference(job_id, chunk_id, workspace))  # type: ignore[arg-type]  # their dict is invariant
            await pipe.execute()


class RedisStreamSource:
    """Implements Source. Receipts are entry ids; the ledger's lease token does the fencing.

    A handle says which delivery of its entry it is, as Redis counts them; None: the first. What we send may be carried
    out late, after a cut, when the entry was delivered again and to the same consumer.
    """

    def __init__(
        self, client: redis.Redis, *, stream: str, group: str, lease_seconds: float, owns_client: bool = False
    ) -> None:
        self._client = client
        self._owns_client = owns_client
        self._stream = stream
        self._group = group
        self._lease_ms = int(lease_seconds * 1000)
        self._consumers: list[str] = []
        self._former: dict[str, str] = {}  # consumer -> how far the entries of its former life were looked at
        self._cursor = "0-0"
        names = ("end", "pass", "give_back", "move_due", "bury", "renew", "retire", "times")
        self._scripts = {name: client.register_script(script(name)) for name in names}

    async def open(self, consumers: Sequence[str]) -> None:
        """Make stream, group and consumers; the group begins at 0, so that what came before it is served (X-35)."""
        self._consumers = list(consumers)
        self._former = dict.fromkeys(consumers, "0")
        with reachable("open the stream"):
            await self._register()

    async def _register(self) -> None:
        """Make what is missing; again when Redis is emptied in the very middle of it."""
        for last in (False, False, True):
            try:
                return await self._make()
            except ResponseError as error:
                if last or not _is_gone(error):
                    raise

    async def _make(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        async with self._client.pipeline(transaction=False) as pipe:
            for consumer in self._consumers:
                pipe.xgroup_createconsumer(self._stream, self._group, consumer)
            await pipe.execute()

    async def _served(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do `act`; once more when Redis came back empty and the group had to be made again."""
        with reachable(what):
            try:
                return await act()
            except ResponseError as error:
                if not _is_gone(error):
                    raise
                await self._register()
                return await act()

    async def claim(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """Read new entries."""
        block = max(1, int(wait_seconds * 1000))
        found = await self._served("read", lambda: self._read(consumer, ">", limit, block))
        return self._parse(consumer, found)

    async def poll(self, rooms: Mapping[str, int]) -> list[Delivery]:
        """Read new entries for several consumers, in one round trip."""
        replies = await self._served("read", lambda: self._read_all(rooms))
        return [
            parse_flat(entry_id.decode(), consumer, fields)
            for consumer, reply in zip(rooms, replies, strict=True)
            for entry_id, fields in _entries(reply)
        ]

    async def _read_all(self, rooms: Mapping[str, int]) -> list[Any]:
        """Return the replies as they come: under its own name redis-py would make a dictionary of each entry."""
        async with self._client.pipeline(transaction=False) as pipe:
            for consumer, room in rooms.items():
                pipe.execute_command(
                    "XREADGROUP GROUP", self._group, consumer, "COUNT", room, "STREAMS", self._stream, ">"
                )
            return await pipe.execute()

    async def recover(self, consumer: str, limit: int) -> list[Delivery]:
        """Take over entries idle for a lease, and move due retries. At first, entries of the consumer's former life.

        A consumer reads nothing new before that has returned less than `limit`: what it reads is pending as well.
        """
        if consumer in self._former:
            since = self._former[consumer]
            found = await self._served("recover", lambda: self._read(consumer, since, limit, None))
            deliveries = await self._again(consumer, found)
            if len(found) < limit:
                del self._former[consumer]
            else:
                self._former[consumer] = found[-1][0].decode()
            if found:
                return deliveries
        await self._served("move due retries", self._move_due)
        return await self._again(consumer, await self._served("recover", lambda: self._autoclaim(consumer, limit)))

    async def _again(self, consumer: str, entries: Iterable[tuple[bytes, Any]]) -> list[Delivery]:
        """Return deliveries of entries that were delivered before."""
        if found := self._parse(consumer, entries):
            args = [self._group, *(delivery.receipt for delivery in found)]
            times = await self._served("recover", lambda: self._scripts["times"](keys=[self._stream], args=args))
            for delivery, count in zip(found, times, strict=True):
                delivery.handle = count
        return found

    async def _read(self, consumer: str, start: str, limit: int, block: int | None) -> list[tuple[bytes, Any]]:
        reply: Any = await self._client.xreadgroup(
            self._group, consumer, {self._stream: start}, count=limit, block=block
        )
        return _entries(reply)

    async def _move_due(self) -> None:
        stream, delayed = self._stream, keys.delayed(self._stream)
        await self._scripts["move_due"](keys=[stream, delayed], args=[DUE_AT_ONCE])

    async def _autoclaim(self, consumer: str, limit: int) -> list[tuple[bytes, Any]]:
        """Claim idle entries from where the last call stopped: one call looks at ten times COUNT entries only."""
        reply = await self._client.xautoclaim(
            self._stream, self._group, consumer, self._lease_ms, start_id=self._cursor, count=limit
        )
        self._cursor = reply[0].decode() if isinstance(reply[0], bytes) else str(reply[0])
        return list(reply[1])

    def _parse(self, consumer: str, entries: Iterable[tuple[bytes, Any]]) -> list[Delivery]:
        # an entry deleted while pending has no fields any more: nothing is left to deliver
        return [parse(entry_id.decode(), consumer, fields) for entry_id, fields in entries if fields]

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew by XCLAIM JUSTID after an ownership check, in one script."""
        args: list[Any] = [self._group]
        for delivery in deliveries:
            args += [delivery.receipt, delivery.consumer]
        lost = await self._served("renew", lambda: self._scripts["renew"](keys=[self._stream], args=args))
        ids = {entry_id.decode() for entry_id in lost}
        return [d for d in deliveries if d.receipt in ids]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Ack and delete, in one script; what the ledger did not give us only as long as it is ours."""
        if receipts := [d.receipt for d in deliveries if d.lease_token]:
            args = [self._group, " ".join(receipts)]
            await self._served("ack", lambda: self._scripts["end"](keys=[self._stream], args=args))
        if others := [part for d in deliveries if not d.lease_token for part in (d.receipt, d.consumer, _which(d))]:
            passing = [self._group, *others]
            await self._served("ack", lambda: self._scripts["pass"](keys=[self._stream], args=passing))

    async def retry(self, deliveries: Sequence[tuple[Delivery, float]]) -> None:
        """Put entries into the sorted set until they are due, in one script."""
        await self._give_back("retry", [(d, max(1, int(delay * 1000))) for d, delay in deliveries])

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Append the entries again, in one script."""
        await self._give_back("release", [(d, 0) for d in deliveries])

    async def _give_back(self, what: str, deliveries: Sequence[tuple[Delivery, int]]) -> None:
        args: list[Any] = [self._group]
        for delivery, delay_ms in deliveries:
            args += [delivery.receipt, delivery.consumer, _which(delivery), delay_ms]
        queues = [self._stream, keys.delayed(self._stream)]
        await self._served(what, lambda: self._scripts["give_back"](keys=queues, args=args))

    async def bury(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Move entries to `<stream>:dead` with their reason, in one script."""
        args: list[Any] = [self._group, DEAD_LETTERS_KEPT]
        for delivery, reason in deliveries:
            args += [delivery.receipt, reason]
        queues = [self._stream, keys.dead(self._stream)]
        await self._served("bury", lambda: self._scripts["bury"](keys=queues, args=args))

    async def depth(self) -> int:
        """Return XLEN and the delayed: entries are deleted when settled, so XLEN tells the truth (X-47)."""
        with reachable("measure the queue"):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xlen(self._stream)
                pipe.zcard(keys.delayed(self._stream))
                return sum(await pipe.execute())

    async def consumers(self) -> list[ConsumerInfo]:
        """Return the group's consumers; none when the group does not exist. Raises DependencyError."""
        with reachable("list consumers"):
            try:
                rows = await self._client.xinfo_consumers(self._stream, self._group)
            except ResponseError as error:
                if _is_gone(error):
                    return []
                raise
        return [ConsumerInfo(_text(r["name"]), int(r["pending"]), int(r["idle"]) / 1000) for r in rows]

    async def groups(self) -> list[str]:
        """Return the stream's consumer groups; none when there is no such stream. Raises DependencyError."""
        with reachable("list groups"):
            try:
                return [_text(row["name"]) for row in await self._client.xinfo_groups(self._stream)]
            except ResponseError as error:
                if _is_gone(error):
                    return []
                raise

    async def retire(self, names: Sequence[str]) -> list[str]:
        """Remove consumers that hold nothing; return those removed (X-48)."""
        if not names:
            return []
        args = [self._group, *names]
        removed = await self._served("retire", lambda: self._scripts["retire"](keys=[self._stream], args=args))
        return [_text(name) for name in removed]

    async def close(self) -> None:
        """Leave the consumers registered; a client that others gave us is theirs to close."""
        if self._owns_client:
            await self._client.aclose()


def _is_gone(error: ResponseError) -> bool:
    """Return whether the stream or its group does not exist, in any of the words Redis has for it."""
    return any(words in str(error) for words in ("NOGROUP", "requires the key to exist", "no such key", "UNBLOCKED"))


def _which(delivery: Delivery) -> int:
    """Return which delivery of its entry it is."""
    return 1 if delivery.handle is None else int(delivery.handle)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _entries(reply: Any) -> list[tuple[bytes, Any]]:
    """Return the entries in a reply of XREADGROUP."""
    if isinstance(reply, dict):  # RESP3
        return [entry for entries in reply.values() for entry in entries]
    return [entry for _, entries in reply or [] for entry in entries]
