"""Amazon SQS as a source, against the stand-in whose limits tests/support/moto_server.py names."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import EndpointConnectionError

from orchestrator.deliveries import Delivery
from orchestrator.errors import DependencyError, SettingsError
from orchestrator.jobs import ChunkStatus
from orchestrator.settings.credentials import Credentials
from orchestrator.sources.base import Foreign, Source, SourceSetup
from orchestrator.sources.sqs import SqsSource, create
from tests.support.moto_server import KEY, REGION, make_queue, messages, moto_server, sqs_client
from tests.support.servers import Server, free_port
from tests.support.wait import wait_until

pytestmark = pytest.mark.xdist_group("sqs")
LEASE = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One stand-in for all tests here."""
    with moto_server() as running:
        yield running


def setup(tmp_path: Path, url: str, queue: str, lease: float = LEASE, **options: Any) -> SourceSetup:
    """What a worker type would give."""
    (tmp_path / "source-key").write_text(KEY)
    given = {"region": REGION, "endpoint_url": url, **options}
    return SourceSetup("sync", queue, given, lease, Credentials(tmp_path))


@dataclass
class Queue:
    """A queue with its producer and the source under test."""

    client: Any
    name: str
    url: str
    dead_url: str
    source: SqsSource

    async def send(self, body: str, **values: Any) -> str:
        """Send one message; return its id."""
        return str((await self.client.send_message(QueueUrl=self.url, MessageBody=body, **values))["MessageId"])

    async def claim(self, limit: int = 10) -> list[Delivery]:
        """Claim without waiting long."""
        return await self.source.claim("c0", limit, 0)


@pytest.fixture(params=[""])
async def queue(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> AsyncIterator[Queue]:
    """A queue of its own for each test; `.fifo` as the parameter makes it one of those."""
    name = f"q-{uuid4().hex[:8]}{request.param}"
    async with sqs_client(server.url) as client:
        url, dead_url = await make_queue(client, name)
        source = create(setup(tmp_path, server.url, name))
        await source.open(["c0", "c1"])
        yield Queue(client, name, url, dead_url, source)
        await source.close()


def test_it_is_a_source_of_a_queue_that_is_not_ours(tmp_path: Path) -> None:
    """The pool asks for this."""
    source = create(setup(tmp_path, "http://127.0.0.1:1", "q"))
    assert isinstance(source, Foreign)
    as_source: Source = source
    assert as_source is source


async def test_a_message_becomes_a_job_with_one_chunk_and_is_deleted_when_acked(queue: Queue) -> None:
    """A-02: its id is the receipt, its body the content; the same job at every delivery."""
    sent = await queue.send('{"content": "hello", "metadata": {"n": 1}, "workspace": "w"}')
    [first] = await queue.claim()
    assert (first.receipt, first.content, first.metadata, first.workspace) == (sent, "hello", {"n": 1}, "w")
    assert (first.chunks_total, first.problem) == (1, None)
    await queue.source.release([first])
    [again] = await queue.claim()
    assert again.key == first.key
    assert await queue.source.depth() == 1
    await queue.source.ack([again])
    await queue.source.ack([again])  # settling twice is no error
    assert await queue.source.depth() == 0


async def test_what_is_renewed_stays_hidden_and_what_is_not_comes_back(
    queue: Queue, server: Server, tmp_path: Path
) -> None:
    """The lease is the visibility timeout: both were taken for a short one, and one of them renewed for a long one."""
    kept, other = await queue.send('{"kept": true}'), await queue.send('{"kept": false}')
    brief = create(setup(tmp_path, server.url, queue.name, lease=4.0))
    await brief.open(["c0"])
    held = {d.receipt: d for d in await brief.claim("c0", 10, 0)}
    assert await queue.source.renew([held[kept]]) == [] and held.keys() == {kept, other}
    await brief.close()
    assert [d.receipt for d in await wait_until(queue.claim)] == [other]
    assert await queue.claim() == []


async def test_a_message_that_was_deleted_is_a_lost_lease(queue: Queue) -> None:
    """The queue's owner removed it while we worked on it."""
    await queue.send("{}")
    [held] = await queue.claim()
    await queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=held.handle["ReceiptHandle"])
    assert await queue.source.renew([held]) == [held]


async def test_a_retry_is_not_early(queue: Queue) -> None:
    """It is hidden for its delay, in whole seconds."""
    await queue.send("{}")
    [held] = await queue.claim()
    began = time.monotonic()
    await queue.source.retry([(held, 0.4)])
    assert await wait_until(queue.claim) and time.monotonic() - began >= 0.9


async def test_many_are_settled_in_batches_of_ten(queue: Queue) -> None:
    """25 messages: polled for two consumers as there is room, then renewed, retried and deleted."""
    for start in (0, 10, 20):
        entries = [{"Id": str(n), "MessageBody": f'{{"n": {n}}}'} for n in range(start, min(start + 10, 25))]
        await queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    held = await queue.claim()
    while found := await queue.source.poll({"c0": 8, "c1": 9}):
        assert all(d.consumer in {"c0", "c1"} for d in found)
        held += found
    held += await queue.claim()
    assert len({d.receipt for d in held}) == 25
    assert await queue.source.renew(held) == []
    await queue.source.retry([(d, 0) for d in held[:12]])
    await queue.source.ack(held[12:])
    assert await queue.source.depth() == 12


async def test_what_is_buried_says_why_and_can_go_back_once(queue: Queue) -> None:
    """Buried twice by a crash between send and delete, it is put back once; the others stay."""
    sent = await queue.send('{"n": 1}', MessageAttributes={"who": {"DataType": "String", "StringValue": "them"}})
    await queue.send("not JSON")
    held = {d.receipt: d for d in await queue.claim()}
    other = next(d for d in held.values() if d.receipt != sent)
    assert other.problem == "the payload is not JSON"
    await queue.source.bury([(held[sent], "boom"), (other, other.problem)])
    await queue.source.bury([(held[sent], "boom")])
    said = [
        (m["MessageAttributes"]["orchestrator.reason"]["StringValue"], m["Body"])
        for m in await messages(queue.client, queue.dead_url)
    ]
    assert sorted(said) == [("boom", '{"n": 1}'), ("boom", '{"n": 1}'), ("the payload is not JSON", "not JSON")]
    assert await queue.source.depth() == 0
    assert await queue.source.redrive([sent, "nobody"]) == ["nobody"]
    [again] = await queue.claim()
    assert again.content == '{"n": 1}'
    assert again.job_id != held[sent].job_id  # revived: new work
    assert set(again.handle["MessageAttributes"]) == {"who"}
    assert len(await messages(queue.client, queue.dead_url)) <= 2


async def test_what_failed_and_was_not_buried_is_buried_when_it_comes_again(queue: Queue) -> None:
    """A worker died after the ledger's settle of a dead message and before its burial.

    The redelivery had ended in the ledger, so it was acked: deleted, with no copy in the dead-letter queue.
    """
    failed = await queue.send('{"n": 1}')
    await queue.send('{"n": 2}')
    for delivery in (held := await queue.claim()):
        dead = delivery.receipt == failed
        delivery.ended_as = ChunkStatus.FAILED if dead else ChunkStatus.CANCELLED
        delivery.reason = "boom" if dead else "the job was cancelled"
    await queue.source.ack(held)
    [letter] = await messages(queue.client, queue.dead_url)
    said = letter["MessageAttributes"]
    assert (letter["Body"], said["orchestrator.reason"]["StringValue"]) == ('{"n": 1}', "boom")
    assert said["orchestrator.message_id"]["StringValue"] == failed
    assert await queue.source.depth() == 0


async def test_large_messages_are_buried_in_batches_of_few(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches were parted by number alone: three of 400 KB are more than a call may have, and none was ever buried."""
    large = "x" * 400_000
    for body in [f'{{"content": "{large}"}}'] * 3 + ["{}"] * 11:
        await queue.send(body)
    held = [*await queue.claim(), *await queue.claim()]
    sizes: list[int] = []
    send = queue.source._client.send_message_batch

    async def counted(**given: Any) -> Any:
        sizes.append(len(given["Entries"]))
        return await send(**given)

    monkeypatch.setattr(queue.source._client, "send_message_batch", counted)
    await queue.source.bury([(d, "boom") for d in sorted(held, key=lambda d: len(str(d.content)))])
    assert sorted(sizes) == [1, 1, 1, 1, 10]
    assert await queue.source.depth() == 0
    name = "ApproximateNumberOfMessages"
    reply = await queue.client.get_queue_attributes(QueueUrl=queue.dead_url, AttributeNames=[name])
    assert reply["Attributes"][name] == "14"


async def test_a_receive_that_fails_costs_the_others_nothing(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the receives beside it had taken was dropped, and hidden from everybody for a lease."""
    for n in range(30):
        await queue.send(f'{{"n": {n}}}')
    assert len(await queue.claim()) == 10
    failures = iter([True, False, True])
    receive = queue.source._client.receive_message

    async def at_times(**given: Any) -> Any:
        if next(failures):
            raise EndpointConnectionError(endpoint_url=queue.url)
        return await receive(**given)

    monkeypatch.setattr(queue.source._client, "receive_message", at_times)
    assert len(await queue.source.poll({"c0": 20})) == 10
    with pytest.raises(DependencyError, match="cannot receive"):
        await queue.source.poll({"c0": 10})


@pytest.mark.parametrize("queue", [".fifo"], indirect=True)
async def test_a_group_of_a_fifo_queue_is_one_after_the_other(queue: Queue) -> None:
    """Two of a group are never in hand together; another group is."""
    for n, group in enumerate(("a", "a", "b")):
        await queue.send(f'{{"n": {n}}}', MessageGroupId=group)
    held = [*await queue.claim(), *await queue.claim(), *await queue.claim()]
    assert sorted(str(d.content) for d in held) == ['{"n": 0}', '{"n": 2}']
    await queue.source.ack([d for d in held if d.content == '{"n": 0}'])
    [second] = await queue.claim()
    assert second.content == '{"n": 1}'
    await queue.source.bury([(second, "no")])
    [dead] = await messages(queue.client, queue.dead_url)
    assert dead["MessageAttributes"]["orchestrator.message_id"]["StringValue"] == second.receipt


async def test_the_check_takes_nothing(queue: Queue) -> None:
    """A claim round trip with a visibility timeout of zero."""
    await queue.send("{}")
    assert queue.name in await queue.source.check()
    assert len(await queue.claim()) == 1


async def test_a_silent_service_is_told_with_what_to_look_at(tmp_path: Path) -> None:
    """Nobody listens there."""
    source = create(setup(tmp_path, f"http://127.0.0.1:{free_port()}", "q"))
    with pytest.raises(DependencyError, match="endpoint_url and region"):
        await source.open(["c0"])
    await source.close()


async def test_a_queue_that_is_not_there_is_told_by_name(server: Server, tmp_path: Path) -> None:
    """We make none: queues belong to their owners."""
    source = create(setup(tmp_path, server.url, "nobody-made-this"))
    with pytest.raises(DependencyError, match="no queue 'nobody-made-this'"):
        await source.open(["c0"])
    await source.close()


async def test_a_queue_without_a_dead_letter_queue_stops_the_worker(server: Server, tmp_path: Path) -> None:
    """Nothing may be dropped, so there must be a place for what cannot be done."""
    async with sqs_client(server.url) as client:
        await client.create_queue(QueueName="bare")
    source = create(setup(tmp_path, server.url, "bare"))
    with pytest.raises(SettingsError, match="dead_letter_queue"):
        await source.open(["c0"])
    await source.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"region": 7}, "region"),
        ({"wait": 3}, "wait"),
        ({"required": "name"}, "required"),
        ({"largest_bytes": True}, "largest_bytes"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    """Before anything is opened."""
    with pytest.raises(SettingsError, match=named):
        create(setup(tmp_path, "http://127.0.0.1:1", "q", **options))


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    """And its content is not shown."""
    given = setup(tmp_path, "http://127.0.0.1:1", "q")
    (tmp_path / "source-key").write_text("verysecret")
    with pytest.raises(SettingsError, match="source-key") as raised:
        create(given)
    assert "verysecret" not in str(raised.value)
