"""Whose fault it is that a document failed, in words: LightRAG keeps nothing else of an error."""

from __future__ import annotations

NO_MODEL = "model endpoint does not answer"
"""Nobody's but the endpoint's."""

NO_CREDENTIALS = "model endpoint refuses our credentials"
"""The operator's."""

TEXT_REFUSED = "model endpoint refuses this text"
"""The text's: another would have been answered."""
