"""orchestrator units: what each unit runs, against the release, the settings and the credentials that are there."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from orchestrator.cli.options import ETC, Format, Output, SettingsDir
from orchestrator.cli.output import emit, say, table
from orchestrator.errors import OrchestratorError
from orchestrator.settings import WorkerPoolSettings
from orchestrator.settings.load import load

UMBRELLA = "orchestrator-workers.service"
API = "orchestrator-api.service"
MODELS = "orchestrator-models.service"
PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,MainPID,ExecMainStartTimestamp,NeedDaemonReload,FragmentPath,DropInPaths"
)
NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit as systemd and the kernel know it."""

    name: str
    state: str  # active, activating, …
    waits: bool = False  # it has ended and systemd is about to start it again
    release: Path | None = None  # of its process; None when there is none
    began: datetime = NEVER
    unread: bool = False  # systemd has not read its files since they changed
    written: Mapping[Path, datetime]  # what it reads at its start, and when that was written


def units(settings: SettingsDir = ETC, output: Output = Format.TEXT) -> None:
    """Show which release each unit runs; exits 1 when one is not active, or began before what is there."""
    pool = load(settings / "workers" / "worker_pool.py", WorkerPoolSettings)
    names = {UMBRELLA: "", **{f"orchestrator-worker@{kind}.service": kind for kind in sorted(pool.types)}, API: ""}
    found = [unit(known, settings, names.get(known["Id"], "")) for known in _ask([*names, MODELS])]
    release, now = Path(sys.prefix).resolve(), datetime.now(UTC)
    reasons = {u.name: behind(u, release, now) for u in found}
    wrong = {u.name: reasons[u.name] or trouble(u) for u in found}
    if output is Format.JSON:
        shown = [
            {
                "name": u.name,
                "state": u.state,
                "release": u.release and u.release.name,
                "began": u.release and u.began.isoformat(),
                "wrong": wrong[u.name],
            }
            for u in found
        ]
        late = [u.name for u in found if reasons[u.name] or u.waits]
        emit({"ok": not any(wrong.values()), "release": release.name, "units": shown, "restart": to_restart(late)})
    else:
        say(f"the release is {release.name}")
        rows = ((u.name, u.state, u.release and u.release.name, u.release and _local(u.began)) for u in found)
        table(("UNIT", "STATE", "RELEASE", "BEGAN"), rows)
        for name, reason in wrong.items():
            if reason:
                say(f"{name}: {reason}")
    raise typer.Exit(1 if any(wrong.values()) else 0)


def trouble(unit: Unit) -> str | None:
    """Return what is wrong with the state of a unit. Pure."""
    if unit.release is not None and unit.state == "active":
        return None
    return f"is {unit.state}; see `journalctl -u {unit.name} -n 50`"


def behind(unit: Unit, release: Path, now: datetime) -> str | None:
    """Return why a unit does not run what is there now, None when it does or runs nothing. Pure."""
    if unit.release is None:
        return None
    if unit.release != release:
        return f"runs the release {unit.release.name}"
    if unit.unread:
        return "systemd has not read its unit since it was written"
    if unit.began > now:
        return "began in the future: the clock was set back, so nobody knows what it has read"
    late = sorted(path for path, when in unit.written.items() if when >= unit.began)
    return f"began before {late[0]} was written" if late else None


def to_restart(late: Sequence[str]) -> list[str]:
    """Return which units to restart when these are behind: the umbrella takes its workers along. Pure."""
    rest = [name for name in late if name in {API, MODELS}]
    return [*rest, *([UMBRELLA] if UMBRELLA in late else (name for name in late if name not in rest))]


def reads(name: str, worker_type: str, settings: Path) -> list[Path]:
    """Return the files and directories a unit reads at its start, but for its unit files. Pure."""
    credentials, tracker = settings / "credentials", settings / "services" / "job_tracker.py"
    if name == UMBRELLA:
        return [settings / "workers" / "worker_pool.py", credentials / "supervisor"]
    if name == API:
        return [settings / "api", settings / "workers", tracker, credentials / "api"]
    if name == MODELS:
        return [settings / "services" / "models.py"]
    return [settings / "workers", tracker, credentials / "worker", credentials / "sources" / worker_type]


def unit(known: Mapping[str, str], settings: Path, worker_type: str) -> Unit:
    """Return a unit from what `systemctl show` says of it, its process, and the files it reads."""
    name, pid = known["Id"], int(known["MainPID"])
    own = [Path(path) for path in (known["FragmentPath"], *known["DropInPaths"].split()) if path]
    return Unit(
        name=name,
        state=known["ActiveState"] if known["LoadState"] == "loaded" else known["LoadState"],
        waits=known["SubState"].startswith("auto-restart"),
        release=_release_of(pid) if pid else None,
        began=_time(known["ExecMainStartTimestamp"]),
        unread=known["NeedDaemonReload"] == "yes",
        written=dict(_written([*own, *reads(name, worker_type, settings)])),
    )


def _ask(names: Iterable[str]) -> Iterator[Mapping[str, str]]:
    command = ["systemctl", "show", "--timestamp=us+utc", f"--property={PROPERTIES}", *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise OrchestratorError(f"systemd cannot be asked: {said.strip()}") from error
    for block in done.stdout.strip().split("\n\n"):
        shown = dict(line.split("=", 1) for line in block.splitlines())
        if shown["Id"] != MODELS or shown["LoadState"] != "not-found":  # only a lab has it
            yield shown


def _release_of(pid: int) -> Path | None:
    """Return the environment a process runs in: its interpreter is named by a path within."""
    try:
        interpreter = Path(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode())
    except (OSError, UnicodeDecodeError):  # it has just ended
        return None
    return interpreter.parent.parent


def _written(paths: Iterable[Path]) -> Iterator[tuple[Path, datetime]]:
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file():  # its change time: a rename into place counts, and nobody can set it
                yield file, datetime.fromtimestamp(file.stat().st_ctime, UTC)


def _time(shown: str) -> datetime:
    """Return a time as systemd writes it: Thu 2026-01-02 03:04:05.123456 UTC."""
    if not shown:
        return NEVER
    _, day, clock, _ = shown.split()
    return datetime.fromisoformat(f"{day}T{clock}+00:00")


def _local(when: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", when.astimezone().timetuple())
