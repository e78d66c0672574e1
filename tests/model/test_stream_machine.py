"""The Redis Stream source against a model: an entry is in one place, and never lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from orchestrator.deliveries import Delivery
from orchestrator.sources.redis_stream import RedisStreamSource, publish
from tests.model.loop import World

STREAM, GROUP, DELAYED, DEAD = "q", "g", "q:delayed", "q:dead"
CONSUMERS = ("a-lightrag-0", "a-lightrag-1", "b-lightrag-0")
LEASE_SECONDS = 600.0
LONG_SECONDS = 500.0
AGED_MS = 1_000_000


@dataclass
class Entry:
    """Where a chunk's entry is."""

    place: str = "waiting"  # waiting, held, delayed, dead, gone
    holder: str = ""
    deliveries: int = 0  # of this entry: one that was given back is another when it comes again
    aged: bool = False

    def give_back(self, place: str) -> None:
        """Be no consumer's any more."""
        self.place, self.deliveries = place, 0


class StreamMachine(RuleBasedStateMachine):
    """Three consumers in two processes; receipts may be stale."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.empty()
        self.entries: dict[str, Entry] = {}
        self.receipts: list[Delivery] = []  # all that were ever handed out
        self.sources = [self._source(CONSUMERS[:2]), self._source(CONSUMERS[2:])]
        for source, names in zip(self.sources, (CONSUMERS[:2], CONSUMERS[2:]), strict=True):
            for name in names:  # nothing of a former life
                assert self.world.run(source.recover(name, 10)) == []

    def _source(self, consumers: tuple[str, ...]) -> RedisStreamSource:
        source = RedisStreamSource(self.world.redis, stream=STREAM, group=GROUP, lease_seconds=LEASE_SECONDS)
        self.world.run(source.open(consumers))
        return source

    def _of(self, consumer: str) -> RedisStreamSource:
        return self.sources[0] if consumer.startswith("a") else self.sources[1]

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        """The relay appends."""
        names = [f"c{len(self.entries) + i}" for i in range(count)]
        self.entries.update({name: Entry() for name in names})
        self.world.run(publish(self.world.redis, STREAM, [("job", name, "w") for name in names]))

    @rule(consumer=st.sampled_from(CONSUMERS), limit=st.integers(1, 5))
    def claim(self, consumer: str, limit: int) -> None:
        """A consumer reads: what waits, in order, and no more than it has room for."""
        found = self.world.run(self._of(consumer).poll({consumer: limit}))
        waiting = [name for name, e in self.entries.items() if e.place == "waiting"]
        assert len(found) == min(limit, len(waiting)) and {d.chunk_id for d in found} <= set(waiting)
        self._hand_out(found, consumer)

    @rule(limits=st.lists(st.integers(1, 3), min_size=2, max_size=2))
    def claim_for_two(self, limits: list[int]) -> None:
        """A process reads for both its slots at once."""
        found = self.world.run(self.sources[0].poll(dict(zip(CONSUMERS, limits, strict=False))))
        for consumer in CONSUMERS[:2]:
            self._hand_out([d for d in found if d.consumer == consumer], consumer)
        assert len({d.chunk_id for d in found}) == len(found) <= sum(limits)

    @rule(consumer=st.sampled_from(CONSUMERS), limit=st.integers(1, 5))
    def recover(self, consumer: str, limit: int) -> None:
        """A consumer looks for what others left: only what was not renewed for a lease."""
        found = self.world.run(self._of(consumer).recover(consumer, limit))
        assert len(found) <= limit and all(self.entries[d.chunk_id].aged for d in found)
        self._hand_out(found, consumer)
        self._moved()

    def _hand_out(self, found: list[Delivery], consumer: str) -> None:
        for delivery in found:
            entry = self.entries[delivery.chunk_id]
            entry.place, entry.holder, entry.aged = "held", consumer, False
            entry.deliveries += 1
        self.receipts += found

    def _moved(self) -> None:
        """Short delays may be over: whether they are is Redis's to say."""
        delayed = {name for name, *_ in self._delayed()}
        for name, entry in self.entries.items():
            if entry.place == "delayed" and name not in delayed:
                entry.place = "waiting"

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), way=st.sampled_from(["ack", "pass", "retry", "retry long", "release", "bury", "renew"]))
    def end(self, data: st.DataObject, way: str) -> None:
        """A delivery is ended, perhaps one that is somebody else's by now."""
        self._end(data.draw(st.sampled_from(self.receipts)), way)

    def _end(self, delivery: Delivery, way: str) -> None:
        entry, source = self.entries[delivery.chunk_id], self._of(delivery.consumer)
        there = self._exists(delivery.receipt)
        ours = there and entry.place == "held" and entry.holder == delivery.consumer
        latest = ours and entry.deliveries == (1 if delivery.handle is None else delivery.handle)
        if way == "ack":  # what was claimed at the ledger, and settled there
            self.world.run(source.ack([replace(delivery, lease_token=1)]))
            entry.place = "gone" if there else entry.place
        elif way == "pass":  # what the ledger had nothing to do for
            self.world.run(source.ack([delivery]))
            entry.place = "gone" if latest else entry.place
        elif way == "bury":
            self.world.run(source.bury([(delivery, "reason")]))
            entry.place = "dead" if there else entry.place
        elif way == "renew":
            assert (delivery in self.world.run(source.renew([delivery]))) == (not ours)
            entry.aged = entry.aged and not ours
        elif way == "release":
            self.world.run(source.release([delivery]))
            if latest:
                entry.give_back("waiting")
        else:
            delay = LONG_SECONDS if way == "retry long" else 0.001
            self.world.run(source.retry([(delivery, delay)]))
            if latest:
                entry.give_back("delayed")

    @precondition(lambda self: any(e.place == "held" for e in self.entries.values()))
    @rule(data=st.data())
    def age(self, data: st.DataObject) -> None:
        """A holder is dead: nobody renews."""
        name = data.draw(st.sampled_from([n for n, e in self.entries.items() if e.place == "held"]))
        entry = self.entries[name]
        entry_id = self._id_of(name)
        self.world.run(self._age(entry.holder, entry_id))
        entry.aged = True

    async def _age(self, holder: str, entry_id: bytes) -> None:
        await self.world.redis.xclaim(STREAM, GROUP, holder, 0, [entry_id], idle=AGED_MS, justid=True)

    @precondition(lambda self: any(e.place == "held" for e in self.entries.values()))
    @rule(data=st.data(), way=st.sampled_from(["ack", "pass", "retry", "release", "bury", "renew"]))
    def take_over(self, data: st.DataObject, way: str) -> None:
        """A holder is thought dead, another one takes over, and then the first one is heard of again."""
        name = data.draw(st.sampled_from([n for n, e in self.entries.items() if e.place == "held"]))
        entry = self.entries[name]
        zombie = next(d for d in reversed(self.receipts) if d.chunk_id == name)
        heir = data.draw(st.sampled_from(CONSUMERS))  # perhaps itself, that was stopped
        self.world.run(self._age(entry.holder, self._id_of(name)))
        entry.aged = True
        for _ in range(3):  # one call looks at a part
            self.recover(heir, 10)
        assert entry.holder == heir
        self._end(zombie, way)

    @rule()
    def flush(self) -> None:
        """Redis forgets everything; the ledger would know. The source makes its group anew."""
        self.world.run(self._flush())
        self.entries.clear()
        self.receipts.clear()
        assert self.world.run(self.sources[0].poll({CONSUMERS[0]: 5})) == []

    async def _flush(self) -> None:
        await self.world.redis.flushall()

    @invariant()
    def each_entry_is_in_one_place(self) -> None:
        """And pending for its holder exactly when it is held, handed out as often as it was: no renewal counts."""
        stream = [fields[b"chunk_id"].decode() for _, fields in self._entries(STREAM)]
        delayed = [name for name, *_ in self._delayed()]
        dead = [fields[b"chunk_id"].decode() for _, fields in self._entries(DEAD)]
        places = {"waiting": stream, "held": stream, "delayed": delayed, "dead": dead, "gone": []}
        for name, entry in self.entries.items():
            everywhere = [*stream, *delayed, *dead]
            assert everywhere.count(name) == (entry.place != "gone"), f"{name} {entry}"
            assert entry.place == "gone" or name in places[entry.place], f"{name} {entry}"
        held = {name: (e.holder, e.deliveries) for name, e in self.entries.items() if e.place == "held"}
        pending = {self._name_of(p["message_id"]): p for p in self._pending()}
        assert {name: (p["consumer"].decode(), p["times_delivered"]) for name, p in pending.items()} == held

    @invariant()
    def depth_is_what_waits_or_runs(self) -> None:
        """X-47."""
        live = sum(e.place in {"waiting", "held", "delayed"} for e in self.entries.values())
        assert self.world.run(self.sources[0].depth()) == live

    def _entries(self, stream: str) -> list[Any]:
        return list(self.world.run(self._ask("xrange", stream)))

    def _delayed(self) -> list[tuple[str, float]]:
        found = self.world.run(self._ask("zrange", DELAYED, 0, -1, withscores=True))
        return [(self._chunk_in(member), score) for member, score in found]

    def _chunk_in(self, member: bytes) -> str:
        """Return the chunk's name in a packed entry: the value after the field's name."""
        tail = member.split(b"chunk_id", 1)[1]
        return tail[1 : 1 + (tail[0] & 0x1F)].decode()  # a short string of MessagePack

    def _pending(self) -> list[Any]:
        if not self.world.run(self._ask("exists", STREAM)):
            return []
        return list(self.world.run(self._ask("xpending_range", STREAM, GROUP, "-", "+", 1000)))

    def _name_of(self, entry_id: bytes) -> str:
        [(_, fields)] = self.world.run(self._ask("xrange", STREAM, entry_id, entry_id))
        name: bytes = fields[b"chunk_id"]
        return name.decode()

    def _id_of(self, name: str) -> bytes:
        found: bytes = next(i for i, fields in self._entries(STREAM) if fields[b"chunk_id"].decode() == name)
        return found

    def _exists(self, receipt: str) -> bool:
        return bool(self.world.run(self._ask("xrange", STREAM, receipt, receipt)))

    async def _ask(self, command: str, *words: Any, **options: Any) -> Any:
        return await getattr(self.world.redis, command)(*words, **options)


def test_the_stream_loses_nothing(world: World) -> None:
    """Thirty examples of forty steps."""
    machine = type("Machine", (StreamMachine,), {"world": world})
    kept = settings(
        max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(machine, settings=kept)
