"""A stand-in for Amazon SQS: moto's server. It cannot be had for real here.

Its limits: it forgets all when it ends; it accepts a delete with a stale receipt handle, where SQS may refuse; it
knows no throttling, no policies and no eventual consistency; it is slow, so nothing is measured with it. By itself it
loses messages; moto_locked.py mends that.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from aiobotocore.session import get_session

from tests.support.servers import Server, free_port, plain_server

REGION = "eu-central-1"
KEY = "AKIAEXAMPLE:secret"
LOCKED = Path(__file__).with_name("moto_locked.py")


@contextlib.contextmanager
def moto_server() -> Iterator[Server]:
    """Run one on a free port."""
    port = free_port()
    command = [sys.executable, "-P", str(LOCKED), "-H", "127.0.0.1", "-p", str(port)]
    with plain_server(f"http://127.0.0.1:{port}", port, *command) as server:
        yield server


@contextlib.asynccontextmanager
async def sqs_client(url: str) -> AsyncIterator[Any]:
    """A client as a producer would have one."""
    keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret"}
    async with get_session().create_client("sqs", region_name=REGION, endpoint_url=url, **keys) as client:
        yield client


async def make_queue(client: Any, name: str, **attributes: str) -> tuple[str, str]:
    """Make a queue with its dead-letter queue; return their URLs. Ours is to bury: its own count is high."""
    suffix = ".fifo" if name.endswith(".fifo") else ""
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if suffix else {}
    dead = await client.create_queue(QueueName=f"{name.removesuffix('.fifo')}-dead{suffix}", Attributes=fifo)
    arn = await client.get_queue_attributes(QueueUrl=dead["QueueUrl"], AttributeNames=["QueueArn"])
    policy = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": "1000"}
    given = {**fifo, "RedrivePolicy": orjson.dumps(policy).decode(), **attributes}
    made = await client.create_queue(QueueName=name, Attributes=given)
    return str(made["QueueUrl"]), str(dead["QueueUrl"])


async def messages(client: Any, url: str) -> list[Mapping[str, Any]]:
    """Look at what a queue shows, and leave it there."""
    reply = await client.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
    )
    found: list[Mapping[str, Any]] = reply.get("Messages", [])
    return found
