"""Fixtures of the programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api import Api, served
from tests.support.program import Cli


@pytest.fixture
async def cli(api: Api, tmp_path: Path) -> AsyncIterator[Cli]:
    """The program in front of an API, with a key of all tenants and no worker."""
    key_file = tmp_path / "api-key"
    key_file.write_text("key-of-operator\n")
    async with served(api) as url:
        yield Cli(url, key_file)
