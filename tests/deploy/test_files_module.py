"""The module that writes many files in one run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.ansible import PLAYBOOK, environment

pytestmark = pytest.mark.timeout(180)  # a run takes a while on a busy machine

DIRECTORIES = ("", "worker", "sources", "sources/cat")
WANTED = {
    "worker/redis-url": "redis://worker:geheim@127.0.0.1/0",
    "sources/cat/source-key": "kätzchen",
    "worker/empty": "",
}


def say(arguments: dict[str, Any], *options: str) -> str:
    """Run the module once; return what Ansible prints."""
    command = [str(PLAYBOOK.with_name("ansible")), "-i", "localhost,", "-c", "local", "localhost", *options]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", "-m", "orchestrator_files"]
    command += ["-a", json.dumps(arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False).stdout


def run(arguments: dict[str, Any], *options: str) -> dict[str, Any]:
    """Run the module once; return its answer."""
    said = say(arguments, "--one-line", *options)
    answer: dict[str, Any] = json.loads(said.partition("=>")[2])
    return {**answer, "failed": "FAILED" in said.partition("=>")[0]}


def write(top: Path, *options: str, wanted: dict[str, str] = WANTED, **more: Any) -> list[str]:
    """Write secret files; return what differed, below the top."""
    directories = {*DIRECTORIES, *(str(Path(name).parent) for name in wanted)}
    arguments = {
        "under": str(top),
        "directories": [{"path": path, "mode": "0700"} for path in sorted(directories)],
        "files": [{"path": path, "content": text, "mode": "0600"} for path, text in wanted.items()],
        "purge": ["sources"],
        **more,
    }
    said = run(arguments, *options)
    assert said["changed"] == bool(said["paths"]), said
    return [str(Path(path).relative_to(top)) for path in said["paths"]]


def test_all_are_written_for_their_owner_alone_and_then_nothing_differs(tmp_path: Path) -> None:
    top = tmp_path / "credentials"
    assert write(top) == [".", "sources", "sources/cat", "worker", *WANTED]
    assert {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()} == WANTED
    assert {oct(path.stat().st_mode & 0o7777) for path in top.rglob("*") if path.is_file()} == {"0o600"}
    assert {oct(path.stat().st_mode & 0o7777) for path in [top, *top.rglob("*")] if path.is_dir()} == {"0o700"}
    assert write(top) == []


def test_a_check_says_what_differs_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert "worker/redis-url" in write(tmp_path / "here", "--check")
    assert list((tmp_path / "here").iterdir()) == []
    assert "worker/redis-url" in write(tmp_path / "there", "--check")
    assert not (tmp_path / "there").exists()


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    write(tmp_path)
    before = {name: (tmp_path / name).stat().st_ino for name in WANTED}
    assert write(tmp_path, wanted={**WANTED, "worker/redis-url": "redis://other"}) == ["worker/redis-url"]
    assert [name for name in WANTED if (tmp_path / name).stat().st_ino != before[name]] == ["worker/redis-url"]


def test_what_others_can_read_or_have_put_there_is_mended(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "sources/cat").chmod(0o755)
    (tmp_path / "worker/empty").chmod(0o644)
    (tmp_path / "worker/redis-url").unlink()
    (tmp_path / "worker/redis-url").symlink_to("/etc/hostname")
    assert sorted(write(tmp_path)) == ["sources/cat", "worker/empty", "worker/redis-url"]
    assert write(tmp_path) == [] and not (tmp_path / "worker/redis-url").is_symlink()


def test_what_belongs_to_no_type_any_more_is_removed(tmp_path: Path) -> None:
    write(tmp_path, wanted={**WANTED, "sources/cat/source-url": "x", "sources/dog/source-key": "y"})
    assert write(tmp_path) == ["sources/dog/source-key", "sources/dog", "sources/cat/source-url"]
    assert sorted(path.name for path in (tmp_path / "sources").rglob("*")) == ["cat", "source-key"]
    assert write(tmp_path) == []


def test_what_its_command_finds_unsound_is_not_written(tmp_path: Path) -> None:
    """Neither a half of it nor a draft stays, and the file that was there goes on to count."""
    one = {"path": str(tmp_path / "one.json"), "validate": f"{sys.executable} -m json.tool %s"}
    assert run({"files": [{**one, "content": "[1]"}]})["changed"]
    said = run({"files": [{**one, "content": "[1"}]})
    assert said["failed"] and said["msg"].startswith(f"{one['path']}: Expecting"), said
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("one.json", "[1]")]


def test_a_file_for_nobody_or_nowhere_is_named(tmp_path: Path) -> None:
    for wrong in ({"path": "missing/file"}, {"path": "file", "owner": "nobody-of-that-name"}):
        said = run({"under": str(tmp_path), "files": [{"content": "", **wrong}]})
        assert said["failed"] and said["msg"].startswith(f"{tmp_path / wrong['path']}:"), said
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_made_with_those_it_lies_in(tmp_path: Path) -> None:
    """As Ansible's own module does; a file in its place is no directory."""
    assert run({"under": str(tmp_path), "directories": [{"path": "a/b"}]})["changed"] and (tmp_path / "a/b").is_dir()
    (tmp_path / "c").touch(mode=0o755)
    said = run({"under": str(tmp_path), "directories": [{"path": "c"}, {"path": "d", "mode": "0755"}]})
    assert said["failed"] and said["msg"].startswith(f"{tmp_path}/c: "), said


def test_a_difference_is_shown(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("before\n")
    said = say({"files": [{"path": str(tmp_path / "one"), "content": "after\n"}]}, "--check", "--diff")
    assert f"+++ after: {tmp_path}/one" in said and "\n-before\n+after\n" in said, said
