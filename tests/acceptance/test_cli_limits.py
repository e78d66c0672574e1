"""orchestrator budget, usage and limits as operators use them: against a real API, Redis and PostgreSQL."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.deliveries import Outcome, Result, Usage, Verdict
from orchestrator.ledger import Ledger
from orchestrator.limits.endpoint import Endpoint
from orchestrator.limits.limiter import Limiter
from orchestrator.limits.scripts import Scripts
from orchestrator.sources.redis_client import connect
from tests.support.api import STREAM, Api
from tests.support.jobs import delivery_of, new_job
from tests.support.program import Cli


async def test_a_spent_budget_is_raised(cli: Cli, ledger: Ledger) -> None:
    """The job says that it is held back and why; a higher budget lets it go on."""
    job = new_job(3, queue=STREAM, budget=Decimal("0.5"))
    await ledger.jobs.create(job)
    taken = (await ledger.chunks.claim([delivery_of(job, 0)])).taken
    used = Usage(calls=3, prompt_tokens=900, completion_tokens=90, cost=Decimal("0.75"))
    await ledger.chunks.settle([(taken[0], Outcome(Verdict.PROCESSED, Result(), usage=used))])
    less = await cli("budget", job.job_id, "0.6")
    assert less.code == 0 and "0.75 spent of 0.6; held back: job" in less.out
    more = await cli("budget", job.job_id, "2", "-o", "json")
    assert more.json["usage"]["budget"] == 2 and more.json["paused"] == []
    free = await cli("budget", job.job_id, "none")
    assert "0.75 spent no limit; processing" in free.out
    for word in ("much", "nan", "inf"):
        wrong = await cli("budget", job.job_id, word)
        assert wrong.code == 1 and "AMOUNT must be a number" in wrong.err
    usage = (await cli("usage", "-o", "json")).json["tenants"]
    assert usage == [
        {"tenant": "lab", "jobs": 1, "model_calls": 3, "prompt_tokens": 900, "completion_tokens": 90, "cost": 0.75}
    ]
    assert "900" in (await cli("usage", "--tenant", "lab", "--since", "2020-01-01T00:00:00Z")).out


async def test_the_limits_of_the_endpoints(cli: Cli, api: Api, redis_url: str) -> None:
    """Calls in use of how many, and what is capped; not for a tenant's key."""
    assert "no model endpoint" in (await cli("limits")).out
    client = connect(redis_url)
    endpoint = Endpoint(
        kind="llm", url="http://gpu:8000/v1", model="qwen\x1b[2J", ceiling=4, initial=4, tokens_per_minute=9000
    )
    limiter = Limiter(endpoint, Scripts(client))
    async with limiter.permit(10, patience=5):
        (found,) = (await cli("limits", "-o", "json")).json
        assert (found["kind"], found["in_use"], found["limit"], found["ceiling"]) == ("llm", 1, 4, 4)
        text = await cli("limits")
        assert "9000 tokens/min" in text.out and "\x1b" not in text.out
    await limiter.close()
    await client.aclose()
    async with api.as_("alpha") as tenant:
        assert (await tenant.get("/limits")).status_code == 403
