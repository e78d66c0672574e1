"""The stand-in for SQS loses nothing of its own: what a test misses is then ours."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Message, Queue

from tests.support import moto_locked

MESSAGES = 2000
IN_THE_QUEUE = 200


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as on a machine that is busy with others."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_what_is_sent_while_two_delete_is_there() -> None:
    """The conformance test of 10,000 messages waited in vain for one of them, and no worker had ever seen it."""
    assert Queue.delete_message is moto_locked.delete_alone
    queue, seen, all_sent = Queue("q", "eu-central-1", "1"), set[str](), threading.Event()  # type: ignore[abstract]
    threads = [threading.Thread(target=_send, args=(queue, all_sent))]
    threads += [threading.Thread(target=_delete, args=(queue, all_sent, seen)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == MESSAGES


def _send(queue: Queue, all_sent: threading.Event) -> None:
    for n in range(MESSAGES):
        message = Message(str(n), "text")
        message.mark_sent(0)
        queue.add_message(message)
        while len(queue._messages) > IN_THE_QUEUE:
            time.sleep(0)
    all_sent.set()


def _delete(queue: Queue, all_sent: threading.Event, seen: set[str]) -> None:
    while not all_sent.is_set() or queue._messages:
        for message in list(queue._messages)[:10]:
            message.mark_received(30)
            seen.add(message.id)
            with suppress(ReceiptHandleIsInvalid):  # the other one was quicker
                queue.delete_message(str(message.receipt_handle))
