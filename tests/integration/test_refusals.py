"""Servers of other queues that answer and refuse us: told from those that are away, for no waiting helps."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pymongo.errors import OperationFailure

from orchestrator.errors import RefusedError
from orchestrator.sources.mongodb import reachable
from orchestrator.sources.sqs import create
from tests.integration.test_sqs import setup
from tests.support.moto_server import moto_server


@pytest.mark.xdist_group("sqs")
async def test_a_key_that_sqs_does_not_know_is_told_as_such(tmp_path: Path) -> None:
    """And which credential that is."""
    with moto_server() as server:
        async with httpx.AsyncClient() as client:  # from now on it looks at the key of every call
            await client.post(f"{server.url}/moto-api/reset-auth", content=b"0")
        source = create(setup(tmp_path, server.url, "q"))
        with pytest.raises(RefusedError, match=r"SQS refuses us .*credential source-key"):
            await source.open(["c0"])
        await source.close()


@pytest.mark.parametrize("code", [13, 18])
def test_mongodb_refuses_by_its_codes(code: int) -> None:
    """Of a user without rights, and of a wrong password; the stand-in asks for none."""
    with pytest.raises(RefusedError, match="credential source-url"), reachable("claim"):
        raise OperationFailure("no", code)
