"""What a model call costs, by the price table of the settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

MILLION = 1_000_000
BYTES_PER_TOKEN = 4


class Prices:
    """Prices of a million tokens by model; a model that is not in the table costs nothing."""

    def __init__(self, table: Mapping[str, Sequence[float]]) -> None:
        # by way of text: 0.1 is meant, not the number nearest to it that a float can hold
        self._table = {model: (Decimal(str(p)), Decimal(str(c))) for model, (p, c) in table.items()}

    def cost(self, model: str, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """Return the price of a call, exactly."""
        prompt, completion = self._table.get(model, (Decimal(0), Decimal(0)))
        return (prompt * prompt_tokens + completion * completion_tokens) / MILLION


def estimate(*texts: str) -> int:
    """Return about how many tokens texts are, for a model that does not say: four bytes each."""
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return -(-size // BYTES_PER_TOKEN)
