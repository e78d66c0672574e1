"""Count tokens without a vocabulary file.

LightRAG's own tokenizer downloads its vocabulary at the first use, which an orchestrator host cannot. Tokens here only
measure: how long a chunk is, how much context fits. They must be stable, reversible and about as many as a model's.
"""

from __future__ import annotations

import re

# A word costs one token for each five letters, a number one for each three digits, anything else one for each
# character: in English text about a tenth more than a real vocabulary, so that a budget is not overrun.
_PIECE = re.compile(r" ?[A-Za-z]{1,5}| ?\d{1,3}|\s{1,8}|.", re.DOTALL)


class PieceTokenizer:
    """Implements LightRAG's TokenizerInterface. Has no state: threads and copies may share it."""

    def encode(self, content: str) -> list[int]:
        """Return the tokens of a text: each is the bytes of one piece, read as a number."""
        # the leading 1 keeps a piece that begins with NUL
        return [int.from_bytes(b"\x01" + p.encode("utf-8", "surrogatepass"), "big") for p in _PIECE.findall(content)]

    def decode(self, tokens: list[int]) -> str:
        """Return the text that `encode` got."""
        raw = (token.to_bytes((token.bit_length() + 7) // 8, "big")[1:] for token in tokens)
        return "".join(piece.decode("utf-8", "surrogatepass") for piece in raw)
