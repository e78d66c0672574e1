"""The process environment LightRAG reads its database from. It must be set before LightRAG is imported.

One process can use one LightRAG database: LightRAG keeps one connection pool a process, made from these variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from orchestrator.errors import CredentialError
from orchestrator.settings import LightRAGSettings

WORKSPACE_OVERRIDES = (
    "WORKSPACE", "POSTGRES_WORKSPACE", "QDRANT_WORKSPACE", "NEO4J_WORKSPACE", "REDIS_WORKSPACE", "MONGODB_WORKSPACE",
    "MILVUS_WORKSPACE", "MEMGRAPH_WORKSPACE", "OPENSEARCH_WORKSPACE",
)  # fmt: skip
"""Each would put every tenant into one workspace. Empty is safer than unset: then config.ini is not asked either."""

_FIXED = {
    **dict.fromkeys(WORKSPACE_OVERRIDES, ""),
    "PYTHON_DOTENV_DISABLED": "1",  # LightRAG would read a .env of the directory it happens to run in
    # Give up after seconds, not minutes: the queue holds the work, and tries again with a delay
    "POSTGRES_CONNECTION_RETRIES": "4",
    "POSTGRES_CONNECTION_RETRY_BACKOFF": "0.5",
    "POSTGRES_CONNECTION_RETRY_BACKOFF_MAX": "3",
}
_REFUSED = ("ENTITY_TYPES",)  # LightRAG ends the process when it is set
_TLS = {
    "sslmode": "POSTGRES_SSL_MODE", "sslcert": "POSTGRES_SSL_CERT", "sslkey": "POSTGRES_SSL_KEY",
    "sslrootcert": "POSTGRES_SSL_ROOT_CERT", "sslcrl": "POSTGRES_SSL_CRL",
}  # fmt: skip


def variables(settings: LightRAGSettings, dsn: str, secrets: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a database, the settings and the secrets of other storages (storages.py).

    Raises CredentialError; no message shows the DSN.
    """
    parts = _split(dsn)
    query = dict(parse_qsl(parts.query))
    host = query.get("host") or unquote(parts.hostname or "")
    if "," in host or "," in parts.netloc.rpartition("@")[2]:
        raise _wrong("names several hosts, LightRAG takes one: give it a name that follows the primary")
    if not host or not parts.path.strip("/"):
        raise _wrong("must have the form postgresql://user:password@host:5432/database")
    named = {
        "POSTGRES_HOST": host,
        "POSTGRES_PORT": query.get("port") or str(parts.port or 5432),
        "POSTGRES_USER": unquote(parts.username or ""),
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
        "POSTGRES_DATABASE": unquote(parts.path.strip("/")),
        "POSTGRES_MAX_CONNECTIONS": str(settings.postgres_connections),
    }
    tls = {variable: query[key] for key, variable in _TLS.items() if key in query}
    return {**settings.storage_options, **_FIXED, **named, **tls, **(secrets or {})}


def apply(values: Mapping[str, str]) -> None:
    """Set the variables and remove what would end the process."""
    os.environ.update(values)
    for name in _REFUSED:
        os.environ.pop(name, None)


def _split(dsn: str) -> SplitResult:
    try:
        parts = urlsplit(dsn)
        _ = parts.port
    except ValueError:
        raise _wrong("is no URL; does its password hold characters that must be percent-encoded?") from None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise _wrong("must begin with postgresql://")
    return parts


def _wrong(what: str) -> CredentialError:
    return CredentialError(f"credential 'lightrag-dsn' {what}")
