"""`orchestrator units`: what runs, against what is there. Processes are real; what systemd says is the test's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.units import PROPERTIES
from tests.support.process import write_module
from tests.support.program import Done, run

HERE = Path(sys.prefix).resolve()
UMBRELLA, API = "orchestrator-workers.service", "orchestrator-api.service"


class Host:
    """A host whose systemd says what the test wants."""

    def __init__(self, directory: Path) -> None:
        self.etc = directory / "etc"
        self.says = directory / "says"
        self.units: dict[str, dict[str, str]] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.etc.mkdir()
        (directory / "bin").mkdir()
        systemctl = directory / "bin/systemctl"
        systemctl.write_text(f'#!/bin/sh\ncat "{self.says}"\n')
        systemctl.chmod(0o755)
        for part in ("workers", "services", "api", "credentials/worker", "credentials/sources/chat"):
            (self.etc / part).mkdir(parents=True)
        for name in ("workers/lightrag_processor.py", "services/job_tracker.py", "api/jobs.py"):
            (self.etc / name).write_text("")
        self.types("lightrag", "chat")

    def types(self, *names: str) -> None:
        """Write the settings of the pool."""
        of = {name: {"handler": "noop", "stream": name, "group": "g"} for name in names}
        write_module(self.etc / "workers/worker_pool.py", "WorkerPoolSettings", host="h", types=of)

    def starts(self, *names: str, release: Path = HERE, **says: str) -> None:
        """Start units now, in a release."""
        for name in names:
            command = ["bash", "-c", f"exec -a {release}/bin/python sleep 600"]
            process = subprocess.Popen(command)
            self.processes.append(process)
            while b"/bin/python" not in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0]:
                time.sleep(0.01)
            self.knows(name, MainPID=str(process.pid), ExecMainStartTimestamp=stamp(datetime.now(UTC)), **says)
        self.tick()

    def tick(self) -> None:
        """Let the file system's clock, which ticks coarsely, pass this moment: what is written next is younger."""
        began, probe = time.time_ns(), self.says.with_name("probe")
        probe.touch()
        while probe.stat().st_ctime_ns <= began:
            probe.touch()

    def knows(self, name: str, **says: str) -> None:
        """Have systemd know a unit."""
        known = dict.fromkeys(PROPERTIES.split(","), "")
        known |= {"Id": name, "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "MainPID": "0"}
        known |= {"NeedDaemonReload": "no"}
        self.units[name] = known | says

    async def asked(self, *words: str) -> Done:
        """Ask our program."""
        blocks = ("\n".join(f"{key}={value}" for key, value in unit.items()) for unit in self.units.values())
        self.says.write_text("\n\n".join(blocks) + "\n")
        return await run("units", "--settings", str(self.etc), *words)

    async def found(self) -> Any:
        """Return the report."""
        done = await self.asked("-o", "json")
        assert done.code == (0 if done.json["ok"] else 1), done.err
        return done.json


def stamp(when: datetime) -> str:
    """Return a time as systemd writes it."""
    return when.strftime("%a %Y-%m-%d %H:%M:%S.%f UTC")


def worker(kind: str) -> str:
    """Return the unit of a worker type."""
    return f"orchestrator-worker@{kind}.service"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host on which everything runs what is there."""
    made = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    made.starts(UMBRELLA, worker("lightrag"), worker("chat"), API)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


async def test_all_is_well(host: Host) -> None:
    """Nothing to restart, and the table says who runs what."""
    assert await host.found() | {"units": []} == {"ok": True, "release": HERE.name, "units": [], "restart": []}
    assert HERE.name in (await host.asked()).out


async def test_a_new_type_restarts_the_others_too(host: Host) -> None:
    """A unit that the deploy had just started made it believe that all workers were new.

    The restart of the workers was skipped when the loop that starts units had started one of them: those that ran kept
    the release and the settings before, and the umbrella never heard of the new type. Each unit is asked for itself.
    """
    host.types("lightrag", "chat", "fresh")
    host.starts(worker("fresh"))
    found = await host.found()
    wrong = {unit["name"]: unit["wrong"] for unit in found["units"]}
    assert wrong.pop(worker("fresh")) is None
    assert all(f"began before {host.etc}/workers/worker_pool.py was written" in reason for reason in wrong.values())
    assert found["restart"] == [API, UMBRELLA]


async def test_a_restart_that_a_failed_deploy_owed_is_made_by_the_next(host: Host, tmp_path: Path) -> None:
    """A deploy that failed between its switch and its handlers lost the restarts for ever.

    Run again it found `current` in its place, so nothing was notified, and the release before passed the proof. What a
    process runs can be seen: its interpreter's path is that of its release.
    """
    host.starts(worker("chat"), release=tmp_path / "releases/0.0.9-abc")
    found = await host.found()
    assert found["restart"] == [worker("chat")]
    assert "orchestrator-worker@chat.service: runs the release 0.0.9-abc" in (await host.asked()).out


CHANGES: dict[str, Callable[[Host], object]] = {
    "credentials/worker/redis-url": lambda host: [worker("lightrag"), worker("chat")],
    "credentials/sources/chat/source-url": lambda host: [worker("chat")],
    "services/job_tracker.py": lambda host: [API, worker("lightrag"), worker("chat")],
    "api/jobs.py": lambda host: [API],
    "workers/worker_pool.py": lambda host: [API, UMBRELLA],
}


@pytest.mark.parametrize("name", CHANGES)
async def test_only_those_are_restarted_that_read_what_has_changed(host: Host, name: str) -> None:
    """A change costs the restarts it needs and no other; a file put in place with an old date counts as well."""
    path = host.etc / name
    path.with_suffix(".new").write_text(path.read_text() if path.exists() else "x")
    os.utime(path.with_suffix(".new"), (1, 1))
    path.with_suffix(".new").rename(path)
    assert (await host.found())["restart"] == CHANGES[name](host)


async def test_a_changed_unit_file_counts(host: Host, tmp_path: Path) -> None:
    """Read by systemd or not."""
    drop_in = tmp_path / "type.conf"
    drop_in.write_text("[Service]\n")
    host.units[worker("chat")]["DropInPaths"] = str(drop_in)
    host.units[worker("lightrag")]["NeedDaemonReload"] = "yes"
    assert (await host.found())["restart"] == [worker("lightrag"), worker("chat")]


async def test_what_was_stopped_stays_so_and_what_crashes_starts_at_once(host: Host) -> None:
    """Both are said; a unit that waits to be started again need not wait any longer."""
    host.knows(worker("lightrag"), ActiveState="inactive", SubState="dead")
    host.knows(worker("chat"), ActiveState="activating", SubState="auto-restart")
    found = await host.found()
    assert (found["ok"], found["restart"]) == (False, [worker("chat")])
    assert f"{worker('lightrag')}: is inactive; see `journalctl" in (await host.asked()).out


async def test_what_waits_for_its_servers_is_not_ready_and_not_restarted(host: Host) -> None:
    """A restart would not help it."""
    host.units[worker("chat")]["ActiveState"] = "activating"
    found = await host.found()
    assert (found["ok"], found["restart"]) == (False, [])


async def test_a_clock_that_was_set_back_hides_nothing(host: Host) -> None:
    """A unit that began in the future may have read anything."""
    host.units[API]["ExecMainStartTimestamp"] = stamp(datetime.now(UTC) + timedelta(hours=1))
    assert (await host.found())["restart"] == [API]


async def test_the_labs_models_are_asked_where_they_are(host: Host) -> None:
    """Elsewhere systemd does not know their unit, and nobody misses it; a missing worker is missed."""
    host.knows("orchestrator-models.service", LoadState="not-found", ActiveState="inactive")
    assert (await host.found())["ok"]
    host.knows(worker("chat"), LoadState="not-found", ActiveState="inactive")
    assert "is not-found" in (await host.asked()).out
    host.starts("orchestrator-models.service", release=Path("/elsewhere"))
    assert (await host.found())["restart"] == ["orchestrator-models.service"]


async def test_without_systemd_it_says_so(host: Host, tmp_path: Path) -> None:
    """Its own words, in one line."""
    (tmp_path / "bin/systemctl").write_text("#!/bin/sh\necho 'no bus' >&2\nexit 1\n")
    done = await host.asked()
    assert done.code == 1 and "systemd cannot be asked: no bus" in done.err
