"""Load a rendered settings module: literals only, so that a settings file can hold no behaviour (style.md, 5)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TypeVar

import orchestrator.settings as known
from orchestrator.errors import SettingsError
from orchestrator.settings.model import Settings

S = TypeVar("S", bound=Settings)


def load(path: Path, expected: type[S]) -> S:
    """Return the settings in the module at `path`.

    The file is parsed, never executed. Raises SettingsError naming the file, the line or the key.
    """
    settings = read(path)
    if not isinstance(settings, expected):
        raise SettingsError(f"{path}: holds {type(settings).__name__}, expected {expected.__name__}")
    return settings


def read(path: Path) -> Settings:
    """Return whatever settings the module at `path` holds. Raises SettingsError."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise SettingsError(f"{path}: is not Python: {error}") from error
    call = _only_call(path, tree)
    kind = _kind(path, call)
    values = {k.arg: _literal(path, k.arg, k.value) for k in call.keywords if k.arg}
    try:
        return kind(**values)
    except (SettingsError, TypeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _only_call(path: Path, tree: ast.Module) -> ast.Call:
    found: ast.Call | None = None
    for node in tree.body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.ImportFrom(module="orchestrator.settings"):
                continue
            case ast.Assign(targets=[ast.Name(id="settings")], value=ast.Call() as call) if found is None:
                found = call
            case _:
                rule = (
                    "only a docstring, an import from orchestrator.settings and one 'settings = Class(…)' may be here"
                )
                raise SettingsError(f"{path}:{node.lineno}: {rule}")
    if found is None:
        raise SettingsError(f"{path}: has no 'settings = …'")
    return found


def _kind(path: Path, call: ast.Call) -> type[Settings]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    kind = getattr(known, name, None) if name in known.__all__ else None
    if call.args or any(k.arg is None for k in call.keywords):
        raise SettingsError(f"{path}:{call.lineno}: settings take key=value only")
    if not (isinstance(kind, type) and issubclass(kind, Settings)):
        raise SettingsError(f"{path}:{call.lineno}: {name or 'this'} is no settings class")
    return kind


def _literal(path: Path, key: str, node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path}:{node.lineno}: {key} must be a literal") from error
