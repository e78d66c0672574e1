"""Check rendered settings where nothing is installed: `python -m orchestrator.settings`, the standard library alone.

A controller asks before the first change, so that its answer names the variable, not the key. Standard input is JSON, a
list of {"module": text, "prefix": "orchestrator_api_", "names": {key: variable}, "options": [variable, [keys]]}:
`options` gave these keys, `names` says which variables are not called by prefix and key.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from orchestrator.errors import SettingsError
from orchestrator.settings.load import parse


def main(given: TextIO, err: TextIO) -> int:
    """Check all modules; say what is wrong with the first that is, and return 1."""
    for entry in json.load(given):
        try:
            parse(entry["module"])
        except SettingsError as error:
            err.write(f"{variable(str(error), entry)}\n")
            return 1
    return 0


def variable(message: str, entry: Mapping[str, Any]) -> str:
    """Return an error, which begins with its key, with the variable in the key's place. Pure."""
    found = re.match(r"[a-z_]+(?= must |:|\[)", message)
    if not found:  # it is about the module as a whole
        return f"{entry['prefix']}*: {message}"
    key = found[0]
    options, keys = entry["options"]
    name = f"{options}.{key}" if key in keys else entry["names"].get(key, f"{entry['prefix']}{key}")
    return f"{name}{message.removeprefix(key)}"


if __name__ == "__main__":
    sys.exit(main(sys.stdin, sys.stderr))
