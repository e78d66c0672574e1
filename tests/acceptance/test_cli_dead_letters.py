"""orchestrator dead-letters as operators use it: against a real API, worker, Redis and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator import keys
from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import RejectError
from orchestrator.handlers.base import Context
from orchestrator.ledger import Ledger
from tests.support.api import STREAM, api_over, served
from tests.support.jobs import new_job
from tests.support.program import Cli, run
from tests.support.system import System, system
from tests.support.wait import wait_until

DEAD = "dead-letters"


@dataclass(slots=True)
class Site:
    """A worker that refuses everything until the model is mended, and the program in front of it."""

    cli: Cli
    worker: System
    mended: list[bool]

    async def failed(self, size: int = 2) -> str:
        """Run a job to its end with all its chunks dead; return its id."""
        job = new_job(size, queue=STREAM)
        await self.worker.submit(job)
        await self.worker.ended(job.job_id)
        await self.copies(size)
        return job.job_id

    async def copies(self, count: int) -> None:
        """Wait until Redis holds so many copies of dead letters."""

        async def there() -> bool:
            return bool(await self.worker.client.xlen(keys.dead(STREAM)) == count)

        await wait_until(there)

    async def letters(self, chunk_id: str, count: int) -> None:
        """Wait until the ledger has so many letters of entries of that name, resolved or not."""
        asked = "SELECT count(*) = $2 FROM dead_letters WHERE payload ->> 'chunk_id' = $1"

        async def there() -> bool:
            return bool(await self.worker.ledger.database.run(lambda c: c.fetchval(asked, chunk_id, count)))

        await wait_until(there, what=f"{count} letters of {chunk_id}")


@pytest.fixture
async def site(ledger: Ledger, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """The program with an API and a worker behind it."""
    mended: list[bool] = []

    async def work(delivery: Delivery, context: Context) -> Result:
        if not mended:
            raise RejectError("model is\x1b[31m away")
        return Result()

    key_file = tmp_path / "api-key"
    key_file.write_text("key-of-operator\n")
    async with (
        system(ledger, redis_url, work, stream=STREAM, group="lightrag-workers") as worker,
        api_over(ledger, redis_url) as api,
        served(api) as url,
    ):
        yield Site(Cli(url, key_file), worker, mended)


async def test_from_a_failed_job_to_a_completed_one(site: Site) -> None:
    """Find what died and why, mend the cause, retry, and watch the new job to its end; Redis holds no copy any more."""
    old = await site.failed(3)
    listed = (await site.cli(DEAD, "list", "-o", "json")).json
    assert [(x["job_id"], x["chunk_id"]) for x in listed] == [(old, f"c{i}") for i in (2, 1, 0)]
    text = await site.cli(DEAD, "list")
    assert "rejected: model is" in text.out and "\x1b" not in text.out
    shown = await site.cli(DEAD, "show", str(listed[0]["id"]))
    assert "6 characters" in shown.out and "text 2" not in shown.out
    site.mended.append(True)
    done = await site.cli(DEAD, "retry", "--job", old, "-o", "json")
    assert (done.code, done.json["done"], done.json["more"]) == (0, 3, False)
    new = done.json["jobs"][0]["job_id"]
    assert (await site.cli("watch", new)).code == 0
    found = (await site.cli("job", new, "-o", "json")).json
    assert (found["status"], found["chunks_processed"], found["metadata"]["retry_of"]) == ("completed", 3, old)
    assert (await site.cli("job", old, "-o", "json")).json["status"] == "failed"
    await site.copies(0)
    assert (await site.cli(DEAD, "list", "-o", "json")).json == []
    retried = (await site.cli(DEAD, "list", "--status", "retried", "-o", "json")).json
    assert {x["retried_as"] for x in retried} == {new}
    assert f"retried as job {new}" in (await site.cli(DEAD, "show", str(retried[0]["id"]))).out


async def test_what_dies_again_is_a_letter_of_the_new_job(site: Site) -> None:
    """Nothing loops by itself: one retry, one new job, its own letters."""
    old = await site.failed(2)
    done = await site.cli(DEAD, "retry", "--type", "lightrag")
    assert done.code == 0 and done.out.splitlines()[0] == "2 dead letters retried"
    new = done.out.splitlines()[1].split()[1].rstrip(":")
    assert done.out.splitlines()[1] == f"job {new}: 2 chunks of job {old}"
    await site.worker.ended(new)
    assert {x["job_id"] for x in (await site.cli(DEAD, "list", "-o", "json")).json} == {new}
    assert (await site.cli("status", "-o", "json")).json["workers"]["lightrag"]["dead"] == 2


async def test_letters_are_dropped_by_id_by_job_and_by_type(site: Site) -> None:
    """An id that is not dead any more is said and makes the exit code 1."""
    old = await site.failed(3)
    ids = [str(x["id"]) for x in (await site.cli(DEAD, "list", "-o", "json")).json]
    first = await site.cli(DEAD, "drop", ids[0])
    assert (first.code, first.out) == (0, "1 dead letters dropped\n")
    again = await site.cli(DEAD, "drop", *ids[:2])
    assert again.code == 1
    assert again.out.splitlines() == [
        "1 dead letters dropped",
        "1 skipped: unknown, resolved before, or being put back",
    ]
    assert (await site.cli(DEAD, "drop", "--job", old, "-o", "json")).json["done"] == 1
    assert (await site.cli(DEAD, "drop", "--type", "lightrag")).out == "0 dead letters dropped\n"
    await site.copies(0)
    assert len((await site.cli(DEAD, "list", "--status", "all", "-o", "json")).json) == 3


async def test_a_malformed_entry_is_shown_and_can_only_be_dropped(site: Site) -> None:
    """An entry that came too late goes back on the stream as it came; one that is malformed cannot."""
    old = await site.failed(1)
    site.mended.append(True)
    await site.worker.client.xadd(STREAM, {"job_id": "m", "content": "hello"})
    late = {"job_id": old, "chunk_id": "late", "content": "too late"}
    await site.worker.client.xadd(STREAM, {str(k): v for k, v in late.items()})
    await site.copies(3)
    letters = (await site.cli(DEAD, "list", "-o", "json")).json
    wrong = next(str(x["id"]) for x in letters if "field chunk_id is missing" in x["reason"])
    other = next(str(x["id"]) for x in letters if "its job has ended" in x["reason"])
    assert "can only be dropped" in (await site.cli(DEAD, "show", wrong)).out
    refused = await site.cli(DEAD, "retry", wrong)
    assert refused.code == 1 and "1 cannot be retried: drop them" in refused.out
    assert (await site.cli("job", old, "-o", "json")).json["status"] == "failed"
    assert (await site.cli(DEAD, "retry", other)).code == 0
    await site.letters("late", 2)  # its job has not come back, so it is buried again, as another letter
    await site.copies(3)
    assert (await site.cli(DEAD, "show", other, "-o", "json")).json["status"] == "retried"
    assert (await site.cli(DEAD, "drop", wrong)).code == 0


async def test_errors_are_one_line_and_say_what_next(site: Site) -> None:
    """Nothing named, too much named, an unknown letter, no key file."""
    for words, said in (
        (("retry",), "say which letters"),
        (("drop", "1", "--job", "x"), "only one of these"),
        (("show", "7"), "no dead letter 7"),
    ):
        done = await site.cli(DEAD, *words)
        assert (done.code, done.out) == (1, "") and said in done.err
        assert done.err.startswith("orchestrator: ") and len(done.err.splitlines()) == 1
    done = await site.cli(DEAD, "retry", "7")
    assert done.code == 1 and "1 skipped" in done.out
    assert (await run(DEAD, "show", "x")).code == 2
