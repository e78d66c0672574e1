"""Load a rendered settings module: literals only, so that a settings file can hold no behaviour (style.md, 5)."""

from __future__ import annotations

import ast
from dataclasses import MISSING, Field, fields
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
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not Python: {error}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse(text: str) -> Settings:
    """Return the settings in the text of a module. Raises SettingsError, whose words begin with the key or the line."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise SettingsError(f"is not Python: {error}") from error
    call = _only_call(tree)
    kind = _kind(call)
    names = [k.arg for k in call.keywords if k.arg]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"{name}: is given twice")
    known = {f.name: f for f in fields(kind)}
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"{unknown[0]}: no such key of {kind.__name__}; known keys: {', '.join(sorted(known))}")
    if missing := [name for name, field in known.items() if _required(field) and name not in names]:
        raise SettingsError(f"{missing[0]}: {kind.__name__} needs it")
    return kind(**{k.arg: _literal(k.arg, k.value) for k in call.keywords if k.arg})


def _required(field: Field[object]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _only_call(tree: ast.Module) -> ast.Call:
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
                raise SettingsError(f"line {node.lineno}: {rule}")
    if found is None:
        raise SettingsError("has no 'settings = …'")
    return found


def _kind(call: ast.Call) -> type[Settings]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    kind = getattr(known, name, None) if name in known.__all__ else None
    if call.args or any(k.arg is None for k in call.keywords):
        raise SettingsError(f"line {call.lineno}: settings take key=value only")
    if not (isinstance(kind, type) and issubclass(kind, Settings)):
        raise SettingsError(f"line {call.lineno}: {name or 'this'} is no settings class")
    return kind


def _literal(key: str, node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{key} must be a literal (line {node.lineno})") from error
