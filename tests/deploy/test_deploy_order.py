"""The order of a deploy: what fails leaves nothing half done, and what it still owes is done by the next one."""

from __future__ import annotations

from tests.deploy.tasks import Task, tasks


def restarts(task: Task) -> bool:
    """Return whether a task restarts a unit."""
    return (task.of("systemd_service") or {}).get("state") == "restarted"


def test_the_schema_is_brought_up_to_date_before_the_switch() -> None:
    """A migration that failed left `current` pointing at the new release, whose restarts then never came.

    It ran after the switch, by way of `current`. Run again, the deploy found the link in place and restarted nothing.
    The new release migrates from its own directory now; the workers go on with the one before, and so does `current`.
    """
    found = [t for t in tasks("roles/orchestrator_base/tasks") if t.path.name == "main.yml"]
    order = [t.values["name"] for t in found]
    migrate = found[order.index("Bring the ledger's schema up to date")].of("command")
    assert migrate is not None and migrate["argv"][0] == "{{ __orchestrator_base_release }}/bin/orchestrator"
    assert order.index("Write the credentials") < order.index("Bring the ledger's schema up to date")
    assert order.index("Bring the ledger's schema up to date") < order.index(
        "Point current at the new one, in one step"
    )


def test_no_restart_of_ours_waits_in_a_handler() -> None:
    """A handler is forgotten when a task fails before it runs; nothing notifies it when the play runs again."""
    waiting = [t.where for t in tasks("roles") if t.path.parent.name == "handlers" and restarts(t)]
    assert [where for where in waiting if "orchestrator" in where] == []


def test_restarts_come_after_all_that_they_read_and_before_the_proof() -> None:
    """And with every tag that writes something a unit reads."""
    play = tasks("playbooks/site.yml")
    order = [t.values["name"] for t in play]
    restart = next(i for i, t in enumerate(play) if (t.of("import_role") or {}).get("tasks_from") == "restart")
    assert order.index("The workers") < restart < order.index("The proof")
    writing = {tag for t in play[order.index("User, release, credentials and schema") : restart] for tag in tags(t)}
    assert {*writing, "workers", "job-tracker", "processor"} <= tags(play[restart])


def tags(task: Task) -> set[str]:
    """Return the tags of a task."""
    return set(task.values.get("tags", []))
