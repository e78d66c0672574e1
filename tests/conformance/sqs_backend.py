"""Amazon SQS, by the stand-in whose limits tests/support/moto_server.py names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from tests.conformance.backend import Message, ServerBackend
from tests.support.moto_server import KEY, REGION, make_queue, messages, moto_server, sqs_client

COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


class SqsBackend(ServerBackend):
    """Implements Backend."""

    source = "sqs"
    many = 300

    def __init__(self) -> None:
        super().__init__(moto_server)
        self._urls: dict[str, tuple[str, str]] = {}

    def settings(self, queue: str) -> dict[str, Any]:
        """Return what is its own."""
        return {"stream": queue, "source_options": {"region": REGION, "endpoint_url": self.server.url}}

    def credentials(self) -> dict[str, str]:
        """Return the key."""
        return {"source-key": KEY}

    async def prepare(self, queue: str) -> None:
        """Make the queue and its dead-letter queue, as their owner would."""
        async with sqs_client(self.server.url) as client:
            self._urls[queue] = await make_queue(client, queue)

    async def put(self, queue: str, messages: Sequence[Message]) -> list[str]:
        """Send them, ten a call."""
        receipts: list[str] = []
        async with sqs_client(self.server.url) as client:
            for start in range(0, len(messages), 10):
                entries = [
                    {"Id": str(n), "MessageBody": _body(message)}
                    for n, message in enumerate(messages[start : start + 10])
                ]
                reply = await client.send_message_batch(QueueUrl=self._urls[queue][0], Entries=entries)
                receipts += [sent["MessageId"] for sent in sorted(reply["Successful"], key=lambda s: int(s["Id"]))]
        return receipts

    async def left(self, queue: str) -> int:
        """Return the sum of its counts."""
        async with sqs_client(self.server.url) as client:
            reply = await client.get_queue_attributes(QueueUrl=self._urls[queue][0], AttributeNames=list(COUNTS))
        return sum(int(reply["Attributes"][name]) for name in COUNTS)

    async def dead(self, queue: str) -> list[str]:
        """Return the reasons in the dead-letter queue."""
        async with sqs_client(self.server.url) as client:
            found = await messages(client, self._urls[queue][1])
        return [m["MessageAttributes"]["orchestrator.reason"]["StringValue"] for m in found]


def _body(message: Message) -> str:
    if isinstance(message.payload, bytes):
        return message.payload.decode("latin-1")
    return message.payload if isinstance(message.payload, str) else orjson.dumps(message.payload).decode()
