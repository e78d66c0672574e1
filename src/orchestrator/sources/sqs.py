"""Amazon SQS as a source (docs/sources/sqs.md). Its visibility timeout is the lease; receipt handles settle."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from orchestrator.deliveries import Delivery
from orchestrator.errors import DependencyError, SettingsError
from orchestrator.jobs import ChunkStatus
from orchestrator.settings.credentials import Credentials
from orchestrator.sources.base import SourceSetup
from orchestrator.sources.foreign import Rules, fill, job_id, spread
from orchestrator.sources.options import read_options
from orchestrator.sources.sqs_calls import MOST, STALE, in_batches, reachable
from orchestrator.sources.sqs_dead import DeadLetters

log = logging.getLogger("orchestrator.sources")

CREDENTIAL = "source-key"
CALLS_AT_ONCE = 8
LONGEST_SECONDS = 43_200  # that a message can be hidden
LONG_POLL_SECONDS = 20  # the longest the service knows
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
LIFE = 0  # a message that is sent again has an id of its own: one id, one life


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The keys of `source_options`."""

    region: str
    endpoint_url: str = ""  # of a VPC endpoint or a stand-in; empty: the region's own
    dead_letter_queue: str = ""  # its name; empty: what the queue's RedrivePolicy says
    least_receives: int = 20  # of the queue's own maxReceiveCount, below which it would bury before we do
    required: tuple[str, ...] = ()
    largest_bytes: int = 1 << 20


def create(setup: SourceSetup) -> SqsSource:
    """Return the source. Raises SettingsError when an option is wrong, CredentialError when the key is."""
    from aiobotocore.session import get_session  # noqa: PLC0415 - it opens a socket as it is imported
    from botocore.config import Config  # noqa: PLC0415 - so does this

    options = read_options(Options, setup.options)
    config = Config(
        connect_timeout=5,
        read_timeout=setup.read_block_seconds + 10,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=4 * CALLS_AT_ONCE,
    )
    connect = partial(
        get_session().create_client,
        "sqs",
        region_name=options.region,
        endpoint_url=options.endpoint_url or None,
        config=config,
        **_keys(setup.credentials),
    )
    return SqsSource(connect, setup, options)


def _keys(credentials: Credentials) -> Mapping[str, str]:
    found = credentials.find(CREDENTIAL)
    if not found:
        return {}  # the client's own chain: an instance role
    parts = found.split(":", 2)
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    if len(parts) == 1 or not all(parts):
        raise SettingsError(f"credential {CREDENTIAL!r} must be KEY_ID:SECRET or KEY_ID:SECRET:SESSION_TOKEN")
    return dict(zip(names, parts, strict=False))


class SqsSource:
    """Implements Source and Foreign. Settling is idempotent: SQS does not fence it for certain, the ledger does."""

    def __init__(self, connect: Callable[[], Any], setup: SourceSetup, options: Options) -> None:
        """`connect` returns a client as the library makes it: to be entered."""
        self._connect = connect
        self._type, self._queue = setup.worker_type, setup.queue
        self._visible_after = max(1, math.ceil(setup.lease_seconds))
        self._options = options
        self._rules = Rules(options.required, options.largest_bytes)
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._url = ""
        self._dead: DeadLetters
        self._plenty = False  # the last receive was full: there is more

    @property
    def _fifo(self) -> bool:
        return self._queue.endswith(".fifo")

    async def open(self, consumers: Sequence[str]) -> None:
        """Find the queue and its dead-letter queue; both are made by whoever owns them.

        Raises SettingsError when there is no dead-letter queue.
        """
        if self._client is None:
            self._client = await self._stack.enter_async_context(self._connect())
        with reachable("open the queue", self._queue):
            self._url = await self._url_of(self._queue)
            attributes = await self._attributes("RedrivePolicy")
            policy = orjson.loads(attributes.get("RedrivePolicy") or "{}")
            name = self._options.dead_letter_queue or str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2]
            if not name:
                what = f"queue {self._queue} has no RedrivePolicy; name its dead-letter queue"
                raise SettingsError(f"source_options dead_letter_queue: {what}")
            self._dead = DeadLetters(self._client, queue_url=self._url, url=await self._url_of(name), fifo=self._fifo)
        most = int(policy.get("maxReceiveCount", self._options.least_receives))
        if most < self._options.least_receives:
            log.warning(
                "the queue may bury before we do: raise maxReceiveCount of its RedrivePolicy",
                extra={"queue": self._queue, "max_receive_count": most, "at_least": self._options.least_receives},
            )

    async def _url_of(self, name: str) -> str:
        if name.startswith(("https://", "http://")):
            return name
        return str((await self._client.get_queue_url(QueueName=name))["QueueUrl"])

    async def _attributes(self, *names: str) -> Mapping[str, str]:
        reply = await self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(names))
        found: Mapping[str, str] = reply.get("Attributes", {})
        return found

    async def claim(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """Receive by long poll, in whole seconds."""
        with reachable("receive", self._queue):
            found = await self._receive(min(limit, MOST), min(LONG_POLL_SECONDS, math.ceil(wait_seconds)))
        return [self._delivery(message, consumer) for message in found]

    async def poll(self, rooms: Mapping[str, int]) -> list[Delivery]:
        """Receive several batches side by side, while the queue is full of messages; else it is left to `claim`."""
        if not self._plenty:
            return []
        room = sum(rooms.values())
        sizes = [1] * room if self._fifo else [min(MOST, room - n) for n in range(0, room, MOST)]
        receives = (self._receive(size, 0) for size in sizes[:CALLS_AT_ONCE])
        found = await asyncio.gather(*receives, return_exceptions=True)
        taken = [message for each in found if not isinstance(each, BaseException) for message in each]
        errors = [each for each in found if isinstance(each, BaseException)]
        if errors and not taken:  # what is taken is ours; the next look says the same
            with reachable("receive", self._queue):
                raise errors[0]
        return spread((self._delivery(message, "") for message in taken), rooms)

    async def _receive(self, most: int, wait: int) -> list[Mapping[str, Any]]:
        """Receive; of a FIFO queue one at a time, for one group's messages must not run side by side."""
        reply = await self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=1 if self._fifo else most,
            WaitTimeSeconds=wait,
            VisibilityTimeout=self._visible_after,
            MessageSystemAttributeNames=["MessageGroupId"],
            MessageAttributeNames=["All"],
        )
        found: list[Mapping[str, Any]] = reply.get("Messages", [])
        self._plenty = len(found) >= (1 if self._fifo else most)
        return found

    def _delivery(self, message: Mapping[str, Any], consumer: str) -> Delivery:
        receipt = str(message["MessageId"])
        job = job_id(self._type, self._queue, receipt, LIFE)
        delivery = Delivery(receipt=receipt, consumer=consumer, job_id=job, chunk_id="", handle=message)
        return fill(delivery, message.get("Body", ""), self._rules)

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Hide the messages for another lease. One that is not in flight was deleted, or is somebody else's."""
        refused = await self._hide("renew", [(d, self._visible_after) for d in deliveries])
        return [deliveries[n] for n in refused]

    async def retry(self, deliveries: Sequence[tuple[Delivery, float]]) -> None:
        """Hide the messages until they are due, in whole seconds, at most twelve hours."""
        await self._hide("retry", [(d, min(LONGEST_SECONDS, max(1, math.ceil(delay)))) for d, delay in deliveries])

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Show the messages again. SQS counts the receive all the same; we do not."""
        await self._hide("release", [(d, 0) for d in deliveries])

    async def _hide(self, what: str, wanted: Sequence[tuple[Delivery, int]]) -> list[int]:
        """Set visibility timeouts; return the indexes of those whose handle is good no more."""
        entries = [{"ReceiptHandle": _handle(d), "VisibilityTimeout": seconds} for d, seconds in wanted]
        act = partial(self._client.change_message_visibility_batch, QueueUrl=self._url)
        with reachable(what, self._queue):
            return _stale(what, await in_batches(entries, act))

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Delete the messages: SQS knows no other end. What has failed is buried: its first burial was cut short."""
        await self._delete("ack", [d for d in deliveries if d.ended_as is not ChunkStatus.FAILED])
        if failed := [(d, d.reason) for d in deliveries if d.ended_as is ChunkStatus.FAILED]:
            await self.bury(failed)

    async def _delete(self, what: str, deliveries: Sequence[Delivery]) -> None:
        act = partial(self._client.delete_message_batch, QueueUrl=self._url)
        with reachable(what, self._queue):
            _stale(what, await in_batches([{"ReceiptHandle": _handle(d)} for d in deliveries], act))

    async def bury(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Send the messages to the dead-letter queue with reason and origin, then delete them.

        A crash in between leaves one twice there, with one origin: the redelivery is buried as well, by `ack`, for it
        cannot be told from one that never got there. `redrive` puts it back once.
        """
        with reachable("bury", self._queue):
            await self._dead.put([(d.handle, reason) for d, reason in deliveries])
        await self._delete("bury", [d for d, _ in deliveries])

    async def recover(self, consumer: str, limit: int) -> list[Delivery]:
        """Return nothing: what was not renewed SQS shows again by itself."""
        return []

    async def depth(self) -> int:
        """Return the sum of what SQS calls its approximate numbers."""
        with reachable("measure the queue", self._queue):
            found = await self._attributes(*COUNTS)
        return sum(int(found.get(name, 0)) for name in COUNTS)

    async def check(self) -> str:
        """Receive with a visibility timeout of zero: nothing is taken."""
        with reachable("check the queue", self._queue):
            await self._attributes("QueueArn")
            await self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=1, WaitTimeSeconds=0, VisibilityTimeout=0
            )
        return f"SQS queue {self._queue} answers and may be received from"

    async def redrive(self, receipts: Sequence[str]) -> list[str]:
        """Send buried messages again, as new messages; return those that the dead-letter queue does not hold."""
        with reachable("redrive", self._queue):
            return await self._dead.redrive(receipts)

    async def close(self) -> None:
        """Close the connections."""
        self._client = None
        await self._stack.aclose()


def _handle(delivery: Delivery) -> str:
    return str(delivery.handle["ReceiptHandle"])


def _stale(what: str, refused: Mapping[int, str]) -> list[int]:
    """Return those whose handle is good no more; any other refusal is the service's trouble."""
    if other := {code for code in refused.values() if code not in STALE}:
        raise DependencyError(f"cannot {what}: SQS says {', '.join(sorted(other))}; see its health and quotas")
    return list(refused)
