"""Whose chunks go next: shares add up, bands weigh, tenants take turns, the oldest job goes first; nobody starves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.jobs import Priority
from orchestrator.ledger.outbox import Plan, Turn, Waiting
from orchestrator.tracker.shares import WEIGHTS, share

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW
TURNS: dict[Priority, Turn] = {}

tenants = st.sampled_from("abcde")
jobs = st.lists(st.builds(Waiting, st.sampled_from(Priority), tenants, st.integers(1, 50)), max_size=20)
began = st.dictionaries(st.sampled_from(Priority), st.builds(Turn, st.integers(0, 16), tenants))


def sent(waiting: Sequence[Waiting], plan: Plan) -> Iterator[Waiting]:
    """Yield the job of every chunk of a plan, in order."""
    for index, count in plan.runs:
        yield from [waiting[index]] * count


def rounds(waiting: Sequence[Waiting], room: int, count: int) -> Counter[tuple[Priority, str]]:
    """Return who sent how much in so many rounds, when nobody ever runs out."""
    total: Counter[tuple[Priority, str]] = Counter()
    turns: Mapping[Priority, Turn] = TURNS
    for _ in range(count):
        plan = share(waiting, turns, room)
        turns = plan.turns
        for index, sends in plan.runs:
            total[waiting[index].priority, waiting[index].tenant] += sends
    return total


@given(jobs, began, st.integers(0, 500))
def test_the_shares_add_up(waiting: list[Waiting], turns: dict[Priority, Turn], room: int) -> None:
    """All of the room is used while there is something to send, and no job sends more than it has."""
    plan = share(waiting, turns, room)
    each: Counter[int] = Counter()
    for index, count in plan.runs:
        assert count > 0
        each[index] += count
    assert sum(each.values()) == min(room, sum(job.left for job in waiting))
    assert all(each[index] <= waiting[index].left for index in each)


@given(jobs, began, st.integers(0, 500))
def test_the_oldest_job_of_a_tenant_goes_first(waiting: list[Waiting], turns: dict[Priority, Turn], room: int) -> None:
    """In a band, a job sends its first chunk only after the tenant's older jobs have sent their last."""
    indexes = [index for index, count in share(waiting, turns, room).runs for _ in range(count)]
    for lane in {(job.priority, job.tenant) for job in waiting}:
        of_lane = [index for index in indexes if (waiting[index].priority, waiting[index].tenant) == lane]
        assert of_lane == sorted(of_lane)


@given(st.integers(1, 200), st.sampled_from([1, 2, 3, 7, 16, 100]))
def test_bands_send_by_their_weight_however_little_room_there_is(count: int, room: int) -> None:
    """Sixteen, four, one; never off by more than one round of them."""
    waiting = [Waiting(priority, "a", 10_000) for priority in Priority]
    total = rounds(waiting, room, count)
    whole, weights = count * room, sum(WEIGHTS.values())
    for priority, weight in WEIGHTS.items():
        assert abs(total[priority, "a"] - whole * weight / weights) <= max(WEIGHTS.values())


@given(st.integers(1, 200), st.sampled_from([1, 2, 3, 7, 100]), st.integers(2, 5))
def test_tenants_of_a_band_send_the_same(count: int, room: int, tenant_count: int) -> None:
    """Whatever room a round has: it begins where the one before ended."""
    names = "abcde"[:tenant_count]
    total = rounds([Waiting(NORMAL, name, 1_000_000 if name == "a" else 30_000) for name in names], room, count)
    shares = [total[NORMAL, name] for name in names]
    assert max(shares) - min(shares) <= 1


@given(jobs.filter(bool), began)
def test_nobody_starves(waiting: list[Waiting], turns: dict[Priority, Turn]) -> None:
    """One chunk a round: every lane has sent something before the weights have gone round once for its tenants."""
    lanes = {(job.priority, job.tenant) for job in waiting}
    endless = [Waiting(job.priority, job.tenant, 1_000_000) for job in waiting]
    seen: set[tuple[Priority, str]] = set()
    now: Mapping[Priority, Turn] = turns
    for _ in range((sum(WEIGHTS.values()) + max(WEIGHTS.values())) * 5):
        plan = share(endless, now, 1)
        now = plan.turns
        seen.update((job.priority, job.tenant) for job in sent(endless, plan))
    assert seen == lanes


def test_a_hundred_thousand_do_not_hold_up_ten() -> None:
    """The ten are among the first twenty, though the other tenant came first."""
    waiting = [Waiting(NORMAL, "a-big", 100_000), Waiting(NORMAL, "b-small", 10)]
    first = list(sent(waiting, share(waiting, TURNS, 1000)))[:20]
    assert Counter(job.tenant for job in first) == {"a-big": 10, "b-small": 10}


def test_a_band_that_had_nothing_to_send_saves_no_credit() -> None:
    """Whoever comes late gets the share of the present, not that of the time it was away."""
    idle = share([Waiting(LOW, "a", 1000)], {HIGH: Turn(16, "a")}, 500)
    assert idle.turns[HIGH].credit == 0
    both = [Waiting(HIGH, "a", 1000), Waiting(LOW, "a", 500)]
    plan = share(both, idle.turns, 17)
    assert Counter(job.priority for job in sent(both, plan)) == {HIGH: 16, LOW: 1}


def test_who_is_alone_gets_all() -> None:
    """Shares are of what is wanted: a low band without others is not slowed down."""
    assert share([Waiting(LOW, "a", 5000)], TURNS, 1000).runs == [(0, 1000)]
