"""The bare client of each queue that a source reads: a loop that claims and acks, and knows nothing of jobs.

A loop drains a queue that a backend of the conformance suite has filled, and returns how many deliveries it acked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as redis
from bullmq import Worker
from pymongo import AsyncMongoClient
from redis.exceptions import ResponseError
from surrealdb import AsyncWsSurrealConnection
from tests.conformance.backend import Backend
from tests.support.moto_server import sqs_client

BATCH = 100
SQS_BATCH = 10  # the most it knows
AT_ONCE = 8  # of the clients that take one at a time

Loop = Callable[[Backend, str], Awaitable[int]]


async def redis_stream(backend: Backend, queue: str) -> int:
    """Read batches; ack and delete each in one round trip."""
    group, done = backend.settings(queue)["group"], 0
    client: Any = redis.Redis.from_url(backend.credentials()["redis-url"])
    async with client:
        try:
            await client.xgroup_create(queue, group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        while replies := await client.xreadgroup(group, "raw", {queue: ">"}, count=BATCH):
            ids = [entry_id for entry_id, _ in replies[0][1]]
            async with client.pipeline(transaction=True) as pipe:
                pipe.xack(queue, group, *ids)
                pipe.xdel(queue, *ids)
                await pipe.execute()
            done += len(ids)
    return done


async def bullmq(backend: Backend, queue: str) -> int:
    """Take a job and complete it, several side by side, by the library's own calls."""
    options = {"connection": backend.credentials()["source-url"], "autorun": False}
    worker: Any = Worker(queue, None, options)

    async def lane(token: str) -> int:
        done = 0
        while (found := await worker.moveToActive(token)) is not None:
            await found.moveToCompleted(None, token)
            done += 1
        return done

    try:
        return sum(await asyncio.gather(*(lane(f"lane-{n}") for n in range(AT_ONCE))))
    finally:
        await worker.backend.close()


async def sqs(backend: Backend, queue: str) -> int:
    """Receive batches; delete each in one call."""
    done = 0
    async with sqs_client(backend.settings(queue)["source_options"]["endpoint_url"]) as client:
        url = (await client.get_queue_url(QueueName=queue))["QueueUrl"]
        while found := (await client.receive_message(QueueUrl=url, MaxNumberOfMessages=SQS_BATCH)).get("Messages"):
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(found)]
            await client.delete_message_batch(QueueUrl=url, Entries=entries)
            done += len(found)
    return done


async def mongodb(backend: Backend, queue: str) -> int:
    """Find a batch, take it in one update, and complete it in another."""
    done = 0
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(backend.credentials()["source-url"])
    async with client:
        documents = client.get_default_database()[queue]
        while ids := [d["_id"] async for d in documents.find({"status": "pending"}, {"_id": 1}, limit=BATCH)]:
            for status in ("processing", "completed"):
                await documents.update_many({"_id": {"$in": ids}}, {"$set": {"status": status}})
            done += len(ids)
    return done


async def surrealdb(backend: Backend, queue: str) -> int:
    """Take a batch of rows in one statement, and complete them in another."""
    done = 0
    parts = urlsplit(backend.credentials()["source-url"])
    namespace, database = parts.path.strip("/").split("/")
    async with AsyncWsSurrealConnection(f"{parts.scheme}://{parts.hostname}:{parts.port}") as client:
        await client.signin({"username": str(parts.username), "password": str(parts.password)})
        await client.use(namespace, database)
        await client.query(f"DEFINE INDEX IF NOT EXISTS raw ON `{queue}` FIELDS status")
        take = f"SELECT VALUE id FROM `{queue}` WITH INDEX raw WHERE status = 'new' LIMIT {BATCH}"
        claim = f"UPDATE ({take}) SET status = 'running' RETURN VALUE id"
        while ids := await client.query(claim):
            await client.query("UPDATE $ids SET status = 'completed' RETURN NONE", {"ids": ids})
            done += len(ids)  # type: ignore[arg-type]
    return done


LOOPS: Mapping[str, Loop] = {
    "redis_stream": redis_stream,
    "bullmq": bullmq,
    "sqs": sqs,
    "mongodb": mongodb,
    "surrealdb": surrealdb,
}
