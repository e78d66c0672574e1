"""playbooks/dead_letters.yml against a real API: lists, checks its arguments, acts; a check changes nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.deliveries import Outcome, Verdict
from orchestrator.ledger import Ledger
from orchestrator.ledger.letters import LetterStatus
from tests.deploy.ansible import PLAYBOOK, PROJECT
from tests.support.api import STREAM, api_over, served
from tests.support.jobs import delivery_of, new_job
from tests.support.program import PROGRAM

pytestmark = pytest.mark.timeout(180)  # plays take a while on a busy machine

DEAD = Outcome(Verdict.FAILED, reason="model said {{ 400 }}")


@dataclass(frozen=True, slots=True)
class Host:
    """This machine as an orchestrator host: its API, and the wrapper that knows the key."""

    directory: Path
    port: str

    async def play(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the playbook; return how it ended and what it said."""
        inventory = self.directory / "hosts.yml"
        inventory.write_text("orchestrators: {hosts: {one: {ansible_connection: local}}}\n")
        command = [str(PLAYBOOK), "-i", str(inventory), "-e", "ansible_become=false", "playbooks/dead_letters.yml"]
        command += ["-e", f"orchestrator_api_port={self.port}", *words]
        environment = {
            **os.environ,
            "PATH": f"{self.directory}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }
        return await asyncio.to_thread(
            subprocess.run, command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
async def host(ledger: Ledger, redis_url: str, tmp_path: Path) -> AsyncIterator[Host]:
    """A host with an API and three dead letters of one job."""
    (tmp_path / "api-key").write_text("key-of-operator\n")
    wrapper = tmp_path / "orchestrator"
    wrapper.write_text(f'#!/bin/sh\nexec {PROGRAM} "$@" --key-file {tmp_path}/api-key\n')
    wrapper.chmod(0o755)
    job = new_job(3, job_id="the-job", queue=STREAM)
    await ledger.jobs.create(job)
    taken = (await ledger.chunks.claim([delivery_of(job, i) for i in range(3)])).taken
    await ledger.chunks.settle([(d, DEAD) for d in taken])
    async with api_over(ledger, redis_url) as api, served(api) as url:
        yield Host(tmp_path, url.rpartition(":")[2])


async def dead(ledger: Ledger) -> int:
    """Return how many letters are dead."""
    return len(await ledger.dead_letters.page(status=LetterStatus.DEAD))


async def test_it_lists_checks_and_acts(host: Host, ledger: Ledger) -> None:
    """A list and a check change nothing; a retry is one change, and the second time none."""
    listed = await host.play()
    assert listed.returncode == 0, listed.stdout
    assert "lightrag job the-job chunk c0" in listed.stdout and "model said {{ 400 }}" in listed.stdout
    assert "changed=0" in listed.stdout and "WARNING" not in listed.stderr + listed.stdout
    checked = await host.play("-e", "act=retry", "-e", "job=the-job", "--check")
    assert checked.returncode == 0 and "changed=0" in checked.stdout and await dead(ledger) == 3
    first = min(letter.id for letter in await ledger.dead_letters.page())
    dropped = await host.play("-e", "act=drop", "-e", f"letters={first}")
    assert dropped.returncode == 0 and "changed=1" in dropped.stdout and await dead(ledger) == 2
    retried = await host.play("-e", "act=retry", "-e", "job=the-job")
    assert retried.returncode == 0 and "changed=1" in retried.stdout and await dead(ledger) == 0
    assert "retry_of: the-job" in retried.stdout
    again = await host.play("-e", "act=retry", "-e", "job=the-job")
    assert again.returncode == 0 and "changed=0" in again.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("act=burn",),
        ("act=retry",),
        ("act=drop", "job=a", "worker_type=b"),
        ("act=drop", "letters=1;reboot"),
        ("act=drop", "job=--help"),
    ],
)
async def test_wrong_arguments_stop_it_before_anything_runs(host: Host, ledger: Ledger, words: tuple[str, ...]) -> None:
    """And the message says what to give."""
    done = await host.play(*(part for word in words for part in ("-e", word)))
    assert done.returncode != 0 and await dead(ledger) == 3
    assert "act must be list, retry or drop" in done.stdout or "say which dead letters" in done.stdout
    assert "List the newest" not in done.stdout
