"""How this machine reaches its package registries: read at run time, and handed to the hosts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.shell import run

APT = Path("/etc/apt")
AUTHORITIES = Path("/usr/local/share/ca-certificates")
APT_OPTION = re.compile(r"Acquire::(?:https?|Check-|Retries|ForceIPv|Languages)")
VARIABLE = re.compile(r"UV_INDEX|UV_(?:DEFAULT|EXTRA)_INDEX|UV_(?:EXTRA_)?INDEX_URL|(?:https?|all|no)_proxy", re.I)


@dataclass(frozen=True, slots=True)
class Archive:
    """Where this machine takes Debian from; None where it does not say."""

    main: str | None
    security: str | None

    def lines(self, suite: str) -> list[str]:
        """Return the sources of a suite; none leaves them to mmdebstrap, which knows the usual ones."""
        if self.main is None:
            return []
        found = [f"deb {self.main} {name} main" for name in (suite, f"{suite}-updates")]
        return [*found, f"deb {self.security} {suite}-security main"] if self.security else found


def archive(texts: Iterable[str]) -> Archive:
    """Find the archive in the texts of apt's source files, of either form. Pure."""
    uris = [uri.rstrip("/") for text in texts for uri in _uris(text)]
    main = next((uri for uri in uris if uri.endswith("/debian")), None)
    security = next((uri for uri in uris if uri.endswith("/debian-security")), None)
    return Archive(main, security)


def _uris(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith(("URIs:", "deb ")):
            yield from (word for word in line.split() if "://" in word)


def apt_options(dump: str) -> list[str]:
    """Return the lines of `apt-config dump` that say how to reach an archive: proxies, checks, languages. Pure."""
    return [line for line in dump.splitlines() if APT_OPTION.match(line) and not line.endswith(' "";')]


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables a host's package tools need; files of this machine are of no use to it. Pure."""
    return {k: v for k, v in sorted(environment.items()) if VARIABLE.fullmatch(k) and "file:" not in v}


@dataclass(frozen=True, slots=True)
class Machine:
    """What goes into a base image, and what into each host."""

    archive: Archive
    apt_options: list[str]
    authorities: dict[str, str]
    variables: dict[str, str]
    resolver: str

    @classmethod
    def read(cls) -> Machine:
        """Read it."""
        files = [APT / "sources.list", *(APT / "sources.list.d").glob("*")]
        sources = [path for path in sorted(files) if path.suffix in {".list", ".sources"} and path.is_file()]
        return cls(
            archive=archive(path.read_text(encoding="utf-8") for path in sources),
            apt_options=apt_options(run("apt-config", "dump")),
            authorities={path.name: path.read_text() for path in sorted(AUTHORITIES.rglob("*.crt"))},
            variables=variables(os.environ),
            resolver=Path("/etc/resolv.conf").read_text(encoding="utf-8"),
        )
