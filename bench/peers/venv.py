"""The environments of the peers: made when they are wanted, from lock files of their own, in a folder git ignores."""

from __future__ import annotations

import asyncio
import os
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools/uv/bin/uv"
HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / "build/peers"


async def python_of(peer: str) -> str:
    """Return the Python of a peer's environment: the one all share, unless it has a lock file of its own."""
    own = HERE / f"{peer}.lock"
    lock = own if own.exists() else HERE / "requirements.lock"
    environment = ENVIRONMENTS / lock.stem
    wanted, made = sha256(lock.read_bytes()).hexdigest(), environment / ".lock"
    if not made.exists() or made.read_text() != wanted:
        await _uv("venv", "--clear", str(environment))
        await _uv("pip", "sync", "--require-hashes", str(lock), VIRTUAL_ENV=str(environment))
        made.write_text(wanted)
    return str(environment / "bin/python")


async def _uv(*words: str, **environment: str) -> None:
    around = {**os.environ, "UV_SYSTEM_CERTS": "true", **environment}  # the machine's trust store, as tools/bootstrap
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(UV, "--quiet", *words, env=around, stderr=pipe)
    _, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"uv {' '.join(words[:2])} failed: {errors.decode()[-500:]}")
