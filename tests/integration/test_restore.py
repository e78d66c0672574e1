"""The runbook's way back from a backup, with PostgreSQL's own programs: what had been accepted then is done now."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from orchestrator.deliveries import DONE
from orchestrator.ledger import Ledger
from orchestrator.ledger.schema import migrate
from tests.support.jobs import delivery_of, new_job

RUNBOOK = Path(__file__).parents[2] / "docs/runbooks/restore-from-backup.md"


def program(name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs with the options the runbook gives it."""
    spec = find_spec("pgserver")
    assert spec is not None and spec.origin is not None
    line = next(line for line in RUNBOOK.read_text(encoding="utf-8").splitlines() if f" {name} " in line)
    options = [w for w in line.split() if re.match(r"--(?!file|dbname)\w", w)]
    command = [str(Path(spec.origin).parent / "pginstall/bin" / name), *options, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_what_the_backup_holds_is_finished_after_the_restore(database: str, tmp_path: Path) -> None:
    """One chunk had ended, one was running, one waited; what came after the backup is gone."""
    await migrate(database)
    server = database.rpartition("/")[0]
    dump = str(tmp_path / "orchestrator.dump")
    ledger = await Ledger.open(database)
    job, later = new_job(3), new_job(1)
    await ledger.jobs.create(job)
    first, running = (await ledger.chunks.claim([delivery_of(job, 0), delivery_of(job, 1)])).taken
    await ledger.chunks.settle([(first, DONE)])
    program("pg_dump", f"--file={dump}", database)
    await ledger.chunks.settle([(running, DONE)])
    await ledger.jobs.create(later)
    await ledger.close()

    program("pg_restore", f"--dbname={server}/postgres", dump)

    ledger = await Ledger.open(database)
    assert [seen.job_id for seen in await ledger.jobs.many([job.job_id, later.job_id])] == [job.job_id]
    assert await ledger.chunks.requeue_stranded(job.worker_type, 0.0) == 1
    # the worker of that time is still there: its result is of a past that did not happen
    late = await ledger.chunks.settle([(running, DONE)])
    rest = (await ledger.chunks.claim([delivery_of(job, i) for i in range(3)])).taken
    await ledger.chunks.settle([(delivery, DONE) for delivery in rest])
    ended = await ledger.jobs.get(job.job_id)
    assert (late, len(rest)) == ({running.key: "queued"}, 2)
    assert (ended.status, ended.processed, ended.percent_complete) == ("completed", 3, 100.0)
    await ledger.close()
