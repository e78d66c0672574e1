"""What a chunk is called inside LightRAG. Pure.

LightRAG knows a document by two names: its id, and the last path component of its file path. Both must be unique in a
workspace, neither may be empty (an empty id stops the whole workspace for good), and both have a longest length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, unquote

from orchestrator.errors import RejectError

ID_DIGITS = 40
MARK_DIGITS = 12
SOURCE_LENGTH = 900  # LightRAG's column holds 1024
WORKSPACE_LENGTH = 255
DEFAULT_WORKSPACE = "default"  # what LightRAG's storages call the workspace without a name

_MARK = re.compile(rf"\.[0-9a-f]{{{MARK_DIGITS}}}$")
_HALF_ESCAPE = re.compile(r"%[0-9A-F]?$")
# Readable, because a model sees it: only what would make another path component, a parser hint, a separator of
# LightRAG's fields or an escape is escaped
_PLAIN = ":@!$&'()*+,;=~?# "


@dataclass(frozen=True, slots=True)
class Document:
    """A chunk as LightRAG gets it. `digest` is LightRAG's hash of the text it will store."""

    id: str
    source: str
    text: str
    digest: str


def document_id(job_id: str, chunk_id: str) -> str:
    """Return the id of a chunk's document: the same for every delivery of the chunk, another for every other chunk."""
    name = f"{job_id}\0{chunk_id}".encode("utf-8", "surrogatepass")
    return f"ck-{sha256(name).hexdigest()[:ID_DIGITS]}"


def document_source(doc_id: str, source_uri: str, job_id: str, chunk_id: str) -> str:
    """Return the file path to give to LightRAG: one path component, unique, from which `source_uri` can be read again.

    A chunk without a source is its own: `chunk:<job_id>/<chunk_id>`. An address longer than 900 characters is cut.
    """
    address = source_uri.strip() or f"chunk:{job_id}/{chunk_id}"
    escaped = quote(address, safe=_PLAIN, errors="replace")
    return f"{_HALF_ESCAPE.sub('', escaped[:SOURCE_LENGTH])}.{doc_id[-MARK_DIGITS:]}"


def source_uri(source: str) -> str:
    """Return the address in a file path that `document_source` made; any other file path as it is."""
    return unquote(_MARK.sub("", source), errors="ignore") if _MARK.search(source) else source


def workspace_name(name: str) -> str:
    """Return the workspace's name as storages and lock use it. Raises RejectError when LightRAG would refuse it."""
    wrong = name in {".", ".."} or "/" in name or "\\" in name or not name.isprintable()
    if wrong or len(name) > WORKSPACE_LENGTH or name != name.strip():
        rule = f"at most {WORKSPACE_LENGTH} printable characters without / and \\, not . or .., no blanks around"
        raise RejectError(f"workspace {name[:80]!r} is no name LightRAG can take: {rule}")
    return name or DEFAULT_WORKSPACE
