"""Deploy a second release, look at what is kept, and go back and forth; each tag alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.deployed import Deployed, eventually

testinfra_hosts = ["ansible://orchestrators"]
pytestmark = pytest.mark.timeout(900)

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = PROJECT / "molecule/default"
HOSTS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "hosts.yml"
INVENTORIES = [f"--inventory={path}" for path in (PROJECT / "inventory/lab", SCENARIO / "inventory", HOSTS)]
APP = "/opt/orchestrator"
PARTS = ("src", "locks", "tools", "pyproject.toml", "README.md")
PROOF = "Stop if they are not the consumers that the sizing asks for"
SERVICES = ("orchestrator-workers", "orchestrator-worker@lightrag", "orchestrator-api")


def begin(*words: str) -> subprocess.Popen[str]:
    """Begin to run a playbook."""
    line = ["ansible-playbook", *INVENTORIES, *words]
    return subprocess.Popen(line, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """Return what a playbook has printed; it has succeeded."""
    printed, _ = process.communicate()
    assert process.returncode == 0, printed[-8000:]
    return printed


@pytest.fixture(scope="module")
def changed_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project that differs from it by a comment."""
    copy = tmp_path_factory.mktemp("project")
    for part in PARTS:
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / part, copy / part)
    (copy / ".tools").symlink_to(PROJECT / ".tools")  # where uv is
    with (copy / "src/orchestrator/__init__.py").open("a") as file:
        file.write("# changed\n")
    yield copy
    shutil.rmtree(copy)


def links(deployed: Deployed) -> tuple[str, str]:
    """Return where `current` and `previous` point."""
    current, previous = deployed.sh(f"readlink {APP}/current {APP}/previous").splitlines()
    return current, previous


def all_run_from(deployed: Deployed, release: str) -> bool:
    """Return whether every service runs from a release."""
    eventually(lambda: deployed.running(*SERVICES))
    maps = [f"/proc/{deployed.unit(unit, 'MainPID')}/maps" for unit in SERVICES]
    return all(deployed.host.run(f"grep -qF {release}/ {file}").rc == 0 for file in maps)


def test_the_second_release_keeps_the_first_and_a_rollback_returns_to_it(
    deployed: Deployed, changed_project: Path
) -> None:
    """`--tags workers` deploys and ends in the XINFO proof; three are kept; rollback.yml exchanges the two newest."""
    first = deployed.sh(f"readlink {APP}/current")
    for n in range(3):  # as if they had been deployed before
        old = f"{APP}/releases/0.0.{n}-00000000000{n}"
        deployed.sh(f"mkdir -p {old} && touch -d '{3 - n} days ago' {old}/.complete {old}")
    assert PROOF in ended(
        begin("site.yml", "--tags", "workers", "-e", f"orchestrator_base_project_dir={changed_project}")
    )
    second, previous = links(deployed)
    assert second != first == previous
    kept = {f"{APP}/releases/{name}" for name in deployed.sh(f"ls {APP}/releases").split()}
    assert kept == {second, first, f"{APP}/releases/0.0.2-000000000002"}
    assert all_run_from(deployed, second)
    ended(begin("playbooks/rollback.yml"))
    assert links(deployed) == (first, second)
    assert all_run_from(deployed, first)


def test_each_tag_works_alone_and_ends_in_the_proof(deployed: Deployed) -> None:
    """On a host that is as it should be it changes nothing, and XINFO has the last word. The runs are side by side."""
    before = [deployed.unit(unit, "MainPID") for unit in SERVICES]
    runs = {tag: begin("site.yml", "--tags", tag) for tag in ("job-tracker", "processor", "api", "validation")}
    printed = {tag: ended(run) for tag, run in runs.items()}
    assert [tag for tag, text in printed.items() if PROOF not in text or "changed=0 " not in text] == []
    assert [deployed.unit(unit, "MainPID") for unit in SERVICES] == before
