"""Two trackers and the fast view against the ledger: the view is absent, or one of the states the job has had."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from orchestrator import keys
from orchestrator.deliveries import DONE, Delivery, Outcome, Verdict
from orchestrator.ledger.jobs import Job, NewJob
from orchestrator.tracker.redis_view import RedisView, fields_of
from orchestrator.tracker.tracker import JobTracker
from tests.model.loop import World
from tests.support.jobs import delivery_of, new_job

TTL_SECONDS = 100
OUTCOMES = st.sampled_from([DONE, Outcome(Verdict.FAILED, reason="dead"), Outcome(Verdict.RELEASE, ran=False)])
WHO = st.integers(0, 1)


class TrackerMachine(RuleBasedStateMachine):
    """Either tracker may be slow, and write what the other one has overtaken."""

    world: World
    jobs = Bundle("jobs")
    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.world.empty()
        self.view = RedisView(self.world.redis, TTL_SECONDS)
        self.trackers = [self._tracker(), self._tracker()]
        self.states: dict[str, list[Job]] = {}  # every state a job was seen in, by its version

    def _tracker(self) -> JobTracker:
        return JobTracker(self.world.ledger, self.view, worker_type="lightrag", queue="q", job_type="ingestion")

    def _remember(self, job_id: str) -> Job:
        job = self.world.run(self.world.ledger.jobs.get(job_id))
        self.states.setdefault(job_id, []).append(job)
        return job

    @rule(target=jobs, size=st.integers(1, 3))
    def submit(self, size: int) -> NewJob:
        """A job is written down."""
        job = new_job(size)
        self.world.run(self.world.ledger.jobs.create(job))
        self._remember(job.job_id)
        return job

    @rule(target=taken, who=WHO, job=jobs, index=st.integers(0, 2))
    def begin(self, who: int, job: NewJob, index: int) -> Delivery:
        """A chunk begins, if it may."""
        delivery = delivery_of(job, index % len(job.chunks))
        self.world.run(self.trackers[who].begin([delivery]))
        self._remember(job.job_id)
        return delivery

    @rule(who=WHO, delivery=taken, outcome=OUTCOMES)
    def settle(self, who: int, delivery: Delivery, outcome: Outcome) -> None:
        """It ends; every outcome is accepted, ended or lost, and nothing is both."""
        settled = self.world.run(self.trackers[who].settle([(delivery, outcome)]))
        assert len(settled.accepted) + len(settled.ended) + len(settled.lost) == 1
        self._remember(delivery.job_id)

    @rule(who=WHO)
    def refresh(self, who: int) -> None:
        """A tracker writes what it knows to have changed: from then on the view is at least as new as now."""
        now = {job_id: self._remember(job_id).version for job_id in self.trackers[who].changed}
        self.world.run(self.trackers[who].refresh())
        for job_id, version in now.items():
            assert self._version(job_id) >= version

    @rule(job=jobs, data=st.data())
    def write_late(self, job: NewJob, data: st.DataObject) -> None:
        """A slow writer has read a state of long ago."""
        old = data.draw(st.sampled_from(self.states[job.job_id]))
        before = self._version(job.job_id)
        self.world.run(self.view.write([old]))
        assert self._version(job.job_id) == max(before, old.version)

    @rule(job=jobs)
    def expire(self, job: NewJob) -> None:
        """Its time is over, or somebody emptied Redis."""
        self.world.run(self._delete(keys.job(job.job_id)))

    async def _delete(self, key: str) -> None:
        await self.world.redis.delete(key)

    def _version(self, job_id: str) -> int:
        view = self.world.run(self.view.read(job_id))
        return int(view["version"]) if view else -1

    @invariant()
    def a_view_is_whole_or_absent(self) -> None:
        """And has a lifetime (X-20, X-21)."""
        for job_id, states in self.states.items():
            view = self.world.run(self.view.read(job_id))
            if view is not None:
                version = int(view.pop("version"))
                assert view in [fields_of(job) for job in states if job.version == version]
                assert 0 < self.world.run(self._ttl(keys.job(job_id))) <= TTL_SECONDS

    async def _ttl(self, key: str) -> int:
        return int(await self.world.redis.ttl(key))


def test_the_view_follows_the_ledger(world: World) -> None:
    """Thirty examples of thirty steps."""
    machine = type("Machine", (TrackerMachine,), {"world": world})
    kept = settings(
        max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    run_state_machine_as_test(machine, settings=kept)
