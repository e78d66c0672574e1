"""The program that writes a host's credentials, all in one run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles/orchestrator_base/files/write_credentials.py"
WANTED = {
    "worker/redis-url": "redis://worker:geheim@127.0.0.1/0",
    "sources/cat/source-key": "kätzchen",
    "api/empty": "",
}


def run(top: Path, act: str = "write", wanted: dict[str, str] | None = None) -> list[str]:
    """Run it; return what it says, below the top."""
    command = [sys.executable, "-I", "-c", PROGRAM.read_text(encoding="utf-8"), str(top), act]
    given = json.dumps(WANTED if wanted is None else wanted)
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    return [str(Path(line).relative_to(top)) for line in done.stdout.splitlines()]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """The directory of the credentials, as the role makes it."""
    made = tmp_path / "credentials"
    made.mkdir(mode=0o700)
    return made


def test_all_are_written_for_their_owner_alone_and_then_nothing_differs(top: Path) -> None:
    assert sorted(run(top)) == sorted(["api", "sources", "sources/cat", "worker", *WANTED])
    assert {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()} == WANTED
    assert {oct(path.stat().st_mode & 0o7777) for path in top.rglob("*") if path.is_file()} == {"0o600"}
    assert {oct(path.stat().st_mode & 0o7777) for path in [top, *top.rglob("*")] if path.is_dir()} == {"0o700"}
    assert run(top) == []


def test_a_check_says_what_differs_and_changes_nothing(top: Path) -> None:
    assert "worker/redis-url" in run(top, "check")
    assert list(top.iterdir()) == []


def test_only_what_has_changed_is_written(top: Path) -> None:
    run(top)
    before = {name: (top / name).stat().st_ino for name in WANTED}
    assert run(top, wanted={**WANTED, "worker/redis-url": "redis://other"}) == ["worker/redis-url"]
    assert [name for name in WANTED if (top / name).stat().st_ino != before[name]] == ["worker/redis-url"]


def test_what_others_can_read_or_have_put_there_is_mended(top: Path) -> None:
    run(top)
    (top / "api").chmod(0o755)
    (top / "api/empty").chmod(0o644)
    (top / "worker/redis-url").unlink()
    (top / "worker/redis-url").symlink_to("/etc/hostname")
    assert sorted(run(top)) == ["api", "api/empty", "worker/redis-url"]
    assert run(top) == [] and not (top / "worker/redis-url").is_symlink()


def test_what_belongs_to_no_type_any_more_is_removed(top: Path) -> None:
    run(top, wanted={**WANTED, "sources/cat/source-url": "x", "sources/dog/source-key": "y"})
    assert run(top) == ["sources/dog/source-key", "sources/dog", "sources/cat/source-url"]
    assert sorted(path.name for path in (top / "sources").rglob("*")) == ["cat", "source-key"]
    assert run(top) == []
