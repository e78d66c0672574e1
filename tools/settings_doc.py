"""Write docs/settings.md from the settings classes: every key, its type, its default, its variable, and its comment.

The variable is the one that the role's template puts into the key; keys that have none share a dictionary.

`python tools/settings_doc.py` writes the file; `--check` exits 1 when it is not what would be written.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SOURCES = PROJECT / "src/orchestrator/settings"
TARGET = PROJECT / "docs/settings.md"
WORKERS = "orchestrator_workers/templates"
MODULES = {
    "pool": ("workers/worker_pool.py", WORKERS, ("_Sizing", "WorkerPoolSettings", "WorkerTypeSettings")),
    "tracker": ("services/job_tracker.py", WORKERS, ("JobTrackerSettings",)),
    "lightrag": ("workers/lightrag_processor.py", WORKERS, ("LightRAGSettings",)),
    "api": ("api/jobs.py", "orchestrator_api/templates", ("ApiSettings",)),
    "models": ("services/models.py", "orchestrator_models/templates", ("ModelsSettings",)),
}
OF_A_TYPE = "WorkerTypeSettings"  # its keys stand in the type's entry
HEAD = """# Settings

Written by `tools/settings_doc.py` from the classes; do not edit. Each file below `/etc/orchestrator` is a Python module
that holds literals only: `settings = Class(key=value, …)`. `orchestrator check-settings FILE` checks one. A wrong value
stops the program with the name of the key.

Ansible renders them from the variables beside the keys; set these in group_vars. `name: {key}` is a dictionary, for
what has no variable of its own: `orchestrator_workers_processor_options: {max_gleaning: 1}`. A wrong value or an
unknown key stops the play before anything changes. The keys of a worker type stand in its entry of
`orchestrator_worker_types`, those of the first table too where they differ from the pool's.
"""


def document() -> str:
    """Return the text of docs/settings.md."""
    parts = [HEAD]
    for module, (target, role, classes) in MODULES.items():
        source = (SOURCES / f"{module}.py").read_text(encoding="utf-8")
        lines = source.splitlines()
        found = variables(role, target)
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and node.name in classes:
                parts.append(section(node, lines, target, {} if node.name == OF_A_TYPE else found))
    return "\n".join(parts)


def variables(role: str, target: str) -> dict[str, str]:
    """Return the variable of each key that a template writes; under "" the dictionary of all others."""
    directory = PROJECT / "roles" / role
    paths = (directory / f"{target}.j2", directory / f"{Path(target).name}.j2")
    text = next(path for path in paths if path.exists()).read_text(encoding="utf-8")
    found = dict(re.findall(r"^    (\w+)=\{\{.*?\b(orchestrator_\w+)", text, re.MULTILINE))
    if several := re.search(r"for key, value in (orchestrator_\w+)", text):
        found[""] = several[1]
    if "types={" in text:
        found["types"] = "orchestrator_worker_types"
    return found


def section(node: ast.ClassDef, lines: list[str], target: str, found: dict[str, str]) -> str:
    """Return the part about one class."""
    title = "Sizing: of the pool, and of each type where it differs" if node.name == "_Sizing" else node.name
    rows = [row(field, lines, found) for field in node.body if isinstance(field, ast.AnnAssign)]
    about = (ast.get_docstring(node) or "").splitlines()[0]
    head = ["| key | type | default | variable | meaning |", "|---|---|---|---|---|"]
    if not found:
        head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", f"`/etc/orchestrator/{target}`. {about}", "", *head, *rows, ""])


def row(field: ast.AnnAssign, lines: list[str], found: dict[str, str]) -> str:
    """Return the row of one key."""
    name = field.target.id if isinstance(field.target, ast.Name) else ""
    default = "required" if field.value is None else f"`{ast.unparse(field.value)}`"
    if "default_factory" in default:
        default = "`{}`"
    comment = lines[(field.end_lineno or 1) - 1].partition("  # ")[2].replace("|", "\\|")
    cells = [f"`{name}`", ast.unparse(field.annotation), default]
    if found:
        cells.append(f"`{found[name]}`" if name in found else f"`{found['']}: {{{name}}}`")
    return f"| {' | '.join([*cells, comment])} |"


def main() -> int:
    """Write or check."""
    text = document()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write("docs/settings.md is stale: run python tools/settings_doc.py\n")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
