"""Faults of the first design that reading our own text is enough to rule out. Each scan is shown to see the fault."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import orchestrator
from orchestrator.api.app import create_app
from orchestrator.api.deps import Deps
from orchestrator.deliveries import Result
from orchestrator.settings import ApiSettings, WorkerPoolSettings, WorkerTypeSettings

PROJECT = Path(__file__).parents[2]
PACKAGE = Path(orchestrator.__file__).parent
SHIPPED = ("src", "roles", "playbooks", "tools", "lab", "bench")


def lines(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Yield (file:number, line) of everything we ship with such a suffix."""
    for part in SHIPPED:
        for path in sorted((PROJECT / part).rglob("*")):
            if path.suffix in suffixes:
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                    yield f"{path.relative_to(PROJECT)}:{number}", line


def test_x25_a_job_is_found_where_it_is_said_to_be() -> None:
    """A router mounted under /jobs whose route is /jobs/{id} answers at /jobs/jobs/{id} alone."""
    found = create_app(cast(Deps, SimpleNamespace(settings=ApiSettings()))).openapi()["paths"]
    assert "get" in found["/jobs/{job_id}"] and "post" in found["/lightrag/ingest-async"]
    words = [path.split("/") for path in found]
    assert [w for w in words if any(a == b for a, b in pairwise(w))] == []


def test_x27_there_is_no_sqlalchemy() -> None:
    """Its declarative models reserve the name `metadata`, so the model of a job could not even be defined."""
    locked = (PROJECT / "locks/runtime.lock").read_text(encoding="utf-8").lower()
    assert "asyncpg==" in locked and "sqlalchemy" not in locked
    assert [where for where, line in lines(".py") if re.match(r"\s*(import|from) sqlalchemy", line)] == []


def lightrag_functions() -> dict[str, list[ast.arguments]]:
    """Return the functions LightRAG's own modules define, by name; its web server is none of our business."""
    spec = find_spec("lightrag")
    assert spec is not None and spec.submodule_search_locations
    found: dict[str, list[ast.arguments]] = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(node.name, []).append(node.args)
    return found


def accepts(arguments: ast.arguments, keywords: set[str]) -> bool:
    """Return whether a function with these parameters takes these keywords."""
    return arguments.kwarg is not None or keywords <= {a.arg for a in (*arguments.args, *arguments.kwonlyargs)}


def calls_of_rag(source: str) -> Iterator[tuple[str, set[str]]]:
    """Yield (method, keywords) of each call on something called rag."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            if owner in {"rag", "self._rag", "lightrag_service"}:
                yield node.func.attr, {k.arg for k in node.keywords if k.arg}


def test_x31_what_is_called_of_lightrag_exists() -> None:
    """There is no `insert_text(text, metadata)`: `ainsert` takes no metadata, and answers a track id, not counts."""
    known = lightrag_functions()
    (ainsert,) = known["ainsert"]
    assert not accepts(ainsert, {"metadata"}) and "insert_text" not in known
    source = "\n".join(p.read_text(encoding="utf-8") for p in sorted((PACKAGE / "handlers/lightrag").glob("*.py")))
    seed = 'lightrag_service.insert_text(text=task["content"], metadata=task["metadata"])'
    assert [name for name, _ in calls_of_rag(seed) if name not in known] == ["insert_text"]
    asked = list(calls_of_rag(source.replace("from __future__ import annotations", "")))
    assert {"apipeline_enqueue_documents", "apipeline_process_enqueue_documents"} <= {name for name, _ in asked}
    for name, keywords in asked:
        assert any(accepts(one, keywords) for one in known[name]), f"{name}({', '.join(sorted(keywords))})"
    assert {"entities", "relations"} <= {f.name for f in fields(Result)}  # counted afterwards: test_contract.py


def trims(line: str) -> bool:
    """Return whether a line trims a stream, other than the copy of the dead letters (KEYS[2] of bury.lua)."""
    found = re.search(r"xtrim|\bmaxlen\b|\bminid\b", line, re.IGNORECASE)
    return bool(found) and "'XADD', KEYS[2], 'MAXLEN', '~', ARGV[2]" not in line


def test_x34_nothing_trims_the_work_stream() -> None:
    """XTRIM and MAXLEN delete bodies that nobody has acked; XAUTOCLAIM then knows only their ids."""
    assert trims("await self.redis.xadd(stream, task, maxlen=10000)") and trims("redis-cli XTRIM q MAXLEN 100")
    assert [where for where, line in lines(".py", ".lua", ".sql", ".yml", ".j2", ".sh") if trims(line)] == []
    bury = (PACKAGE / "sources/lua/bury.lua").read_text(encoding="utf-8")
    assert "-- KEYS[1] stream, KEYS[2] dead;" in bury
    source = (PACKAGE / "sources/redis_stream.py").read_text(encoding="utf-8")
    assert "queues = [self._stream, keys.dead(self._stream)]" in source


def ruff(*arguments: str, given: str = "") -> str:
    """Return what ruff finds about times without a zone."""
    command = [sys.executable, "-m", "ruff", "check", "--select", "DTZ", "--output-format", "concise", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False, cwd=PROJECT).stdout


def test_x37_every_time_has_its_zone() -> None:
    """`datetime.utcnow()` gives a time without one; so does a column of type timestamp."""
    assert "DTZ003" in ruff("-", given="from datetime import datetime\n\ncreated_at = datetime.utcnow()\n")
    assert "All checks passed" in ruff("src", "tests", "tools", "lab", "bench")
    assert re.search(r'^select = .*"DTZ"', (PROJECT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    naive = re.compile(r"\b(timestamp|localtimestamp|timestamp without time zone)\b(?! with time zone)", re.IGNORECASE)
    assert naive.search("created_at TIMESTAMP NOT NULL")
    sql = [(where, line.split("--")[0]) for where, line in lines(".sql")]
    assert sql and [where for where, line in sql if naive.search(line)] == []


def imports(path: Path) -> set[str]:
    """Return the modules a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_x38_the_canary_is_a_client_and_no_consumer() -> None:
    """A validation with the production group and names took real messages and left them pending for ever."""
    found = imports(PACKAGE / "cli/canary.py") | imports(PACKAGE / "cli/client.py")
    assert "httpx" in found
    worker = ("redis", "orchestrator.sources", "orchestrator.pool", "orchestrator.worker", "orchestrator.keys")
    assert [name for name in found if name.startswith(worker)] == []


def test_x50_the_time_budget_is_the_one_of_the_settings() -> None:
    """The first plan contradicted itself; what operators read here is compared with what the code does."""
    page = (PROJECT / "docs/operations.md").read_text(encoding="utf-8")
    section = page.partition("\n## Time budget\n")[2].partition("\n## ")[0]
    told = {
        name: float(value) for name, value in re.findall(r"^\| `([a-z_]+)` \| ([0-9.]+) s \|", section, re.MULTILINE)
    }
    settings = WorkerPoolSettings(host="h", types={"t": {"handler": "noop", "stream": "q", "group": "g"}}).for_type("t")
    timed = {f.name for f in fields(WorkerTypeSettings) if f.name.endswith("_seconds")}
    assert f"`TimeoutStopSec` = {settings.grace_period_seconds + 15:g} s" in section  # rendered so: test_templates.py
    assert told == {name: getattr(settings, name) for name in timed}
