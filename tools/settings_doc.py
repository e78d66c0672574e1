"""Write docs/settings.md from the settings classes: every key, its type, its default, and the comment beside it.

`python tools/settings_doc.py` writes the file; `--check` exits 1 when it is not what would be written.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SOURCES = PROJECT / "src/orchestrator/settings"
TARGET = PROJECT / "docs/settings.md"
MODULES = {
    "pool": ("workers/worker_pool.py", ("_Sizing", "WorkerPoolSettings", "WorkerTypeSettings")),
    "tracker": ("services/job_tracker.py", ("JobTrackerSettings",)),
    "lightrag": ("workers/lightrag_processor.py", ("LightRAGSettings",)),
    "api": ("api/jobs.py", ("ApiSettings",)),
    "models": ("services/models.py", ("ModelsSettings",)),
}
HEAD = """# Settings

Written by `tools/settings_doc.py` from the classes; do not edit. Each file below `/etc/orchestrator` is a Python module
that holds literals only: `settings = Class(key=value, …)`. `orchestrator check-settings FILE` checks one. A wrong value
stops the program with the name of the key. Ansible renders them; the variables are in each role's `defaults/main.yml`.
"""


def document() -> str:
    """Return the text of docs/settings.md."""
    parts = [HEAD]
    for module, (target, classes) in MODULES.items():
        source = (SOURCES / f"{module}.py").read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and node.name in classes:
                parts.append(section(node, lines, target))
    return "\n".join(parts)


def section(node: ast.ClassDef, lines: list[str], target: str) -> str:
    """Return the part about one class."""
    title = "Sizing: of the pool, and of each type where it differs" if node.name == "_Sizing" else node.name
    rows = [row(field, lines) for field in node.body if isinstance(field, ast.AnnAssign)]
    about = (ast.get_docstring(node) or "").splitlines()[0]
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", f"`/etc/orchestrator/{target}`. {about}", "", *head, *rows, ""])


def row(field: ast.AnnAssign, lines: list[str]) -> str:
    """Return the row of one key."""
    name = field.target.id if isinstance(field.target, ast.Name) else ""
    default = "required" if field.value is None else f"`{ast.unparse(field.value)}`"
    if "default_factory" in default:
        default = "`{}`"
    comment = lines[(field.end_lineno or 1) - 1].partition("  # ")[2].replace("|", "\\|")
    return f"| `{name}` | {ast.unparse(field.annotation)} | {default} | {comment} |"


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
