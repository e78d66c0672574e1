"""What the tests of all scenarios share."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.deployed import Deployed


@pytest.fixture
def deployed(host: Any) -> Deployed:
    """Ask the host of the scenario."""
    return Deployed(host)
