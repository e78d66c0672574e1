"""What a queue's owner and producers do, with its own client: client.py make-sqs, or QUEUE TEXT."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import boto3
from pymongo import MongoClient
from surrealdb import Surreal

QUEUE = "noop"


def sqs() -> Any:
    """Return a client of moto's server."""
    keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret"}
    return boto3.client("sqs", region_name="eu-central-1", endpoint_url="http://127.0.0.1:5000", **keys)


def make_sqs() -> None:
    """Make the queue with its dead-letter queue."""
    client = sqs()
    dead = client.create_queue(QueueName=f"{QUEUE}-dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "20"})
    client.create_queue(QueueName=QUEUE, Attributes={"RedrivePolicy": policy})


def put_sqs(text: str) -> None:
    """Send a message."""
    client = sqs()
    url = client.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody=json.dumps({"content": text}))


def put_mongodb(text: str) -> None:
    """Insert a document."""
    with MongoClient("mongodb://127.0.0.1:27017/work?directConnection=true") as client:
        document = {"status": "pending", "created_at": datetime.now(UTC), "content": text}
        client.get_default_database()[QUEUE].insert_one(document)


def put_surrealdb(text: str) -> None:
    """Submit a command."""
    command = {"app": "lab", "name": "noop", "status": "new", "created": datetime.now(UTC), "args": {"content": text}}
    with Surreal("ws://127.0.0.1:8008") as client:
        client.signin({"username": "root", "password": "root"})
        client.use("lab", "work")
        client.create(QUEUE, command)


if __name__ == "__main__":
    acts = {"make-sqs": make_sqs, "sqs": put_sqs, "mongodb": put_mongodb, "surrealdb": put_surrealdb}
    acts[sys.argv[1]](*sys.argv[2:])
