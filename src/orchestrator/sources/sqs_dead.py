"""The dead-letter queue of an SQS queue: what is buried there says why and where it comes from, and can go back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from orchestrator.errors import DependencyError
from orchestrator.sources.sqs_calls import MOST, Entry, in_batches

REASON, ORIGIN = "orchestrator.reason", "orchestrator.message_id"
REASON_LENGTH = 500
PASSES = 100  # batches that one redrive looks at
HIDDEN_SECONDS = 60


class DeadLetters:
    """Methods raise what the client raises, and DependencyError for what the service refused."""

    def __init__(self, client: Any, *, queue_url: str, url: str, fifo: bool) -> None:
        self._client = client
        self._queue_url = queue_url
        self._url = url
        self._fifo = fifo

    async def put(self, messages: Sequence[tuple[Mapping[str, Any], str]]) -> None:
        """Send copies of the messages, each with its reason."""
        await self._send(self._url, [self._buried(message, reason) for message, reason in messages])

    async def redrive(self, receipts: Sequence[str]) -> list[str]:
        """Send these messages again as new ones; return those that are not here.

        By receive, send and delete: the service's own move task moves all or none.
        """
        missing = dict.fromkeys(receipts, True)
        others: list[Entry] = []
        try:
            for _ in range(PASSES):
                if not any(missing.values()) or not (found := await self._receive()):
                    return sorted(receipt for receipt, is_missing in missing.items() if is_missing)
                for message in found:
                    if not await self._revive(message, missing):
                        others.append({"ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0})
        finally:  # what is of nobody who asked is there at once for whoever looks next
            await in_batches(others, partial(self._client.change_message_visibility_batch, QueueUrl=self._url))
        many = f"more than {PASSES * MOST} messages are in {self._url}: those that are asked for were not all found"
        raise DependencyError(f"{many}; redrive them with the queue's own tools")

    async def _revive(self, message: Mapping[str, Any], missing: dict[str, bool]) -> bool:
        """Send a message that is asked for as a new one; False when it is another."""
        # a message that the service itself has moved here bears no word of ours, and has its id still
        origin = message.get("MessageAttributes", {}).get(ORIGIN, {}).get("StringValue", message["MessageId"])
        if origin not in missing:
            return False
        if missing[origin]:  # else the second copy of one that a crash had buried twice
            await self._send(self._queue_url, [self._revived(message)])
            missing[origin] = False
        await self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return True

    async def _receive(self) -> list[Mapping[str, Any]]:
        reply = await self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=MOST,
            WaitTimeSeconds=1,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageSystemAttributeNames=["MessageGroupId"],
            MessageAttributeNames=["All"],
        )
        found: list[Mapping[str, Any]] = reply.get("Messages", [])
        return found

    async def _send(self, url: str, entries: Sequence[Entry]) -> None:
        if refused := await in_batches(entries, partial(self._client.send_message_batch, QueueUrl=url)):
            codes = ", ".join(sorted(set(refused.values())))
            raise DependencyError(f"SQS refuses messages ({codes}); check the policy and the type of {url}")

    def _buried(self, message: Mapping[str, Any], reason: str) -> Entry:
        said = {ORIGIN: _text(message["MessageId"]), REASON: _text(reason[:REASON_LENGTH] or "no reason")}
        theirs = dict(list(message.get("MessageAttributes", {}).items())[: MOST - len(said)])  # ten is all it may have
        return {"MessageBody": message["Body"], "MessageAttributes": theirs | said, **self._group(message)}

    def _revived(self, message: Mapping[str, Any]) -> Entry:
        theirs = {k: v for k, v in message.get("MessageAttributes", {}).items() if k not in {REASON, ORIGIN}}
        return {"MessageBody": message["Body"], "MessageAttributes": theirs, **self._group(message)}

    def _group(self, message: Mapping[str, Any]) -> Entry:
        """Return what a FIFO queue needs; a copy of the same message within five minutes is dropped by the service."""
        if not self._fifo:
            return {}
        group = message.get("Attributes", {}).get("MessageGroupId", "none")
        return {"MessageGroupId": group, "MessageDeduplicationId": message["MessageId"]}


def _text(value: str) -> Entry:
    return {"DataType": "String", "StringValue": value}
