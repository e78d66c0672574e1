"""Which storages of LightRAG may be chosen, what each needs installed, and the secrets of those that have one. Pure.

LightRAG installs a missing client by itself while it is imported (pipmaster). In a hardened unit that fails after a
minute and says something else; so only storages whose client is one of our extras are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from orchestrator.errors import CredentialError, SettingsError
from orchestrator.settings import LightRAGSettings

Find = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Family:
    """Storages of one back end, known by how their names begin."""

    prefix: str
    package: str = ""  # what has to be importable
    extra: str = ""  # of orchestrator-workers, which brings it
    option: str = ""  # of storage_options, without which it cannot be reached
    secret: str = ""  # the credential, if it has one
    variable: str = ""  # where LightRAG reads the secret
    needed: bool = False  # whether it cannot do without


FAMILIES = (
    Family("PG"),
    Family("Json"),
    Family("NanoVectorDB"),
    Family("NetworkX"),
    Family("Qdrant", "qdrant_client", "qdrant", "QDRANT_URL", "qdrant-api-key", "QDRANT_API_KEY"),
    Family("Neo4J", "neo4j", "neo4j", "NEO4J_URI", "neo4j-password", "NEO4J_PASSWORD", needed=True),
)
KEYS = ("kv_storage", "doc_status_storage", "graph_storage", "vector_storage")


def chosen(settings: LightRAGSettings) -> dict[str, str]:
    """Return setting -> name of the storage."""
    return {key: getattr(settings, key) for key in KEYS}


def in_files(settings: LightRAGSettings) -> bool:
    """Return whether something lies in the working directory."""
    return any(name.startswith(("Json", "NanoVectorDB", "NetworkX")) for name in chosen(settings).values())


def in_postgres(settings: LightRAGSettings) -> bool:
    """Return whether something lies in PostgreSQL."""
    return any(name.startswith("PG") for name in chosen(settings).values())


def check(settings: LightRAGSettings) -> None:
    """Raise SettingsError naming the setting whose storage we do not know, cannot reach, or have no client for."""
    for key, name in chosen(settings).items():
        family = _family(key, name)
        if family.package and find_spec(family.package) is None:
            needed = f"needs the Python package {family.package}; install orchestrator-workers[{family.extra}]"
            raise SettingsError(f"{key}: {name} {needed}")
        if family.option and not settings.storage_options.get(family.option):
            raise SettingsError(f"{key}: {name} needs {family.option} in storage_options")


def secrets(settings: LightRAGSettings, find: Find) -> Mapping[str, str]:
    """Return the environment variables that hold the secrets of the chosen storages.

    Raises CredentialError when one is missing that its storage cannot do without.
    """
    found: dict[str, str] = {}
    for key, name in chosen(settings).items():
        family = _family(key, name)
        if not family.secret:
            continue
        if (value := find(family.secret)) is not None:
            found[family.variable] = value
        elif family.needed:
            raise CredentialError(f"credential {family.secret!r} is missing; {key} is {name}, which needs it")
    return found


def _family(key: str, name: str) -> Family:
    for family in FAMILIES:
        if name.startswith(family.prefix):
            return family
    known = ", ".join(f"{family.prefix}…" for family in FAMILIES)
    raise SettingsError(f"{key}: {name} is not one of {known}: LightRAG would install its client while it starts")
