"""What a run will do: jobs, noise and faults with their times. Pure: the same seed and length give the same plan."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass

WORKERS = 3
TENANTS = ("alpha", "beta", "gamma")
SECONDS_A_FAULT = 1.6
RETRY_ATTEMPTS = 3
LARGEST, LARGE_EVERY = 5000, 15
SLOW_EVERY, SLOW_CHUNKS = 6, 8

WEIGHTS = {
    "worker kill": 14,
    "worker freeze": 10,
    "worker stop": 12,
    "cut redis": 8,
    "cut postgres": 10,
    "clock": 5,
    "disk": 4,
    "redis kill": 6,
    "redis freeze": 6,
    "redis flush": 7,
    "postgres kill": 6,
    "postgres drop": 8,
    "api kill": 8,
    "cut queue": 8,
    "queue kill": 8,
    "queue freeze": 6,
}
"""The kinds of faults. Those of `queue` happen to the server of a queue that is not our Redis."""
LASTS = {  # seconds from, to; what is not here lasts no time
    "worker freeze": (0.3, 6.0),
    "cut redis": (0.2, 5.0),
    "cut postgres": (0.2, 3.5),
    "clock": (1.5, 4.0),  # it is noticed within a second
    "disk": (1.0, 4.0),
    "redis kill": (0.1, 1.5),
    "redis freeze": (0.2, 3.0),
    "postgres kill": (0.1, 1.5),
    "cut queue": (0.2, 3.5),
    "queue kill": (0.1, 1.5),
    "queue freeze": (0.2, 3.0),
}
POLICIES = ("strict", "strict", "strict", "fail_fast", "threshold", "best_effort")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong."""

    at: float  # seconds after the start of the run
    kind: str
    target: int  # which worker
    seconds: float  # how long it lasts
    chance: float  # 0 to 1: what the kind makes of it


@dataclass(frozen=True, slots=True)
class Job:
    """A job that is submitted. A chunk is what its text says that its handler shall do."""

    at: float
    name: str  # its idempotency key, or its id when it goes straight to the stream
    tenant: str
    chunks: tuple[str, ...]
    straight: bool = False  # to the stream, past the API
    declared: bool = True  # of a straight one: whether its entries say how many there are
    keyed: bool = True  # with an idempotency key
    again: bool = False  # submitted twice
    policy: str = "strict"
    max_failed: int = 0  # of the policy `threshold`
    cancel_after: float | None = None


@dataclass(frozen=True, slots=True)
class Noise:
    """What comes straight to the queue and is no new work: malformed, or one more entry of a chunk that there is."""

    at: float
    kind: str
    chance: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A run."""

    seed: int
    seconds: float
    faults: tuple[Fault, ...]
    jobs: tuple[Job, ...]
    noise: tuple[Noise, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a queue can bear, and what there is to do to it."""

    lacks: frozenset[str]  # faults of what it does not have
    noise: tuple[str, ...]
    largest: int = LARGEST
    left_out: frozenset[str] = frozenset()  # faults that it cannot bear


def make(seed: int, faults: int, shape: Shape, *, only: Collection[str] = ()) -> Plan:
    """Return the plan of a run; `only` names the faults that are wanted. What this host can do does not matter here."""
    rng = random.Random(seed)  # noqa: S311 - a plan to be repeated, no secret
    seconds = faults * SECONDS_A_FAULT
    without = shape.lacks | shape.left_out
    kinds = [kind for kind in WEIGHTS if kind not in without and (not only or kind in only)]
    more = rng.choices(kinds, [WEIGHTS[kind] for kind in kinds], k=max(0, faults - len(kinds)))
    chosen = [*kinds, *more] if more else rng.sample(kinds, faults)  # each kind at least once, when there are enough
    planned = tuple(sorted((_fault(rng, kind, seconds) for kind in chosen), key=lambda fault: fault.at))
    noise = tuple(_noise(rng, shape.noise, seconds) for _ in range(max(10, faults)))
    return Plan(seed, seconds, planned, _jobs(rng, faults, seconds, shape.largest), noise)


def _fault(rng: random.Random, kind: str, seconds: float) -> Fault:
    low, high = LASTS.get(kind, (0.0, 0.0))
    return Fault(
        at=round(rng.uniform(2.0, max(3.0, seconds)), 3),
        kind=kind,
        target=rng.randrange(WORKERS),
        seconds=round(rng.uniform(low, high), 3),
        chance=rng.random(),
    )


def _noise(rng: random.Random, kinds: tuple[str, ...], seconds: float) -> Noise:
    kind = rng.choice(kinds)
    return Noise(round(rng.uniform(0.5, seconds), 3), kind, rng.random())


def _jobs(rng: random.Random, faults: int, seconds: float, largest: int) -> tuple[Job, ...]:
    count = max(8, round(faults * 0.8))
    deadly = max(1, faults // 40)  # chunks that kill their worker; each of them does so as often as it may
    jobs = []
    for n in range(count):
        size = min(largest, _size(rng, n))
        chunks = [_behaviour(rng, size) for _ in range(size)]
        if n % SLOW_EVERY == SLOW_EVERY - 1:  # there is always something at work
            chunks = [f"slow:{rng.uniform(1.5, 3.0):.2f}" for _ in range(SLOW_CHUNKS)]
            size = len(chunks)
        if 1 <= n <= deadly:
            chunks[rng.randrange(size)] = "poison"
        straight = rng.random() < 0.2  # noqa: PLR2004
        single = len(chunks) == 1
        jobs.append(
            Job(
                at=round(rng.uniform(0, seconds * 0.85), 3),
                name=f"chaos-{n:04d}",
                tenant=rng.choice(TENANTS),
                chunks=tuple(chunks),
                straight=straight and size <= 300,  # noqa: PLR2004
                declared=not single or rng.random() < 0.5,  # noqa: PLR2004
                keyed=rng.random() < 0.9 or n % LARGE_EVERY == 0,  # noqa: PLR2004
                again=rng.random() < 0.25,  # noqa: PLR2004
                policy=(policy := rng.choice(POLICIES)),
                max_failed=rng.randrange(3) if policy == "threshold" else 0,
                cancel_after=round(rng.uniform(0.05, 4), 3) if rng.random() < 0.06 else None,  # noqa: PLR2004
            )
        )
    return tuple(jobs)


def _size(rng: random.Random, n: int) -> int:
    """Return how many chunks: one job of the largest size, some large ones, many small ones, some in between."""
    if n == 0:
        return LARGEST
    if n % LARGE_EVERY == 0:
        return round(math.exp(rng.uniform(math.log(LARGEST / 5), math.log(LARGEST))))
    return rng.choice((1, 1, 2, rng.randint(3, 12), rng.randint(5, 30), rng.randint(20, 120), rng.randint(50, 600)))


def _behaviour(rng: random.Random, size: int) -> str:
    """Return what a chunk does. What is odd is rarer in a large job: a run has to end."""
    if rng.random() > min(0.35, 6 / size):
        return "ok"
    return rng.choices(
        (f"slow:{rng.uniform(0.1, 3.0):.2f}", "fail:1", "fail:2", "fail:9", "reject", "hang"), (10, 4, 3, 2, 2, 1)
    )[0]
