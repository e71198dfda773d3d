"""`golden.npz`: real inputs with torch's answers, carried by the artifact so that any device can check itself."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sharcs_edge_runtime.errors import ArtifactError
from sharcs_edge_runtime.manifest import Manifest
from sharcs_edge_runtime.tokenization import TokenBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Golden:
    """Golden rows (SPEC.md, section 6).

    `tokens`: int64 (rows, tokens), right padded. `logits`: torch's, float32 (widths, rows, labels). `router_logits`:
    float32 (rows, widths). `routes`: int64 (rows,), index into the manifest's widths. `texts`: str (rows, text_inputs).
    """

    tokens: TokenBatch
    logits: NDArray[np.float32]
    router_logits: NDArray[np.float32]
    routes: NDArray[np.int64]
    texts: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.routes)

    def row(self, index: int) -> TokenBatch:
        """One row without its padding, int64 (1, its tokens)."""
        ids, mask, types = self.tokens
        cut = np.s_[index : index + 1, : int(mask[index].sum())]
        return TokenBatch(ids[cut], mask[cut], None if types is None else types[cut])

    def to_bytes(self) -> bytes:
        """The content of `golden.npz`; equal arrays give equal bytes."""
        ids, mask, types = self.tokens
        arrays: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if types is not None:
            arrays["token_type_ids"] = types
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            **arrays,
            logits=self.logits,
            router_logits=self.router_logits,
            routes=self.routes,
            texts=self.texts,
        )
        return stream.getvalue()

    @classmethod
    def load(cls, file: Path, manifest: Manifest) -> Golden:
        """Read a golden file; ArtifactError naming the array that is missing or not what the manifest asks for."""
        arrays = _read_arrays(file)
        ids = arrays.get("input_ids")
        rows, tokens = ids.shape if ids is not None and ids.ndim == 2 else (0, 0)
        for name, (dtype, shape) in _layout(manifest, rows, tokens).items():
            if name not in arrays:
                raise ArtifactError(f"{file} has no array {name}: export the artifact again")
            array = arrays[name]
            if not (array.dtype.kind == "U" if dtype == "text" else array.dtype == dtype):
                raise ArtifactError(f"{file}: {name} holds {array.dtype}, expected {dtype}: export the artifact again")
            if array.shape != shape or not array.size:
                raise ArtifactError(
                    f"{file}: {name} has the shape {array.shape}, expected {shape} ({rows} rows of {tokens} tokens): "
                    "export the artifact again"
                )
        mask, routes = arrays["attention_mask"], arrays["routes"]
        if not np.isin(mask, (0, 1)).all() or (np.diff(mask, axis=1) > 0).any() or not mask[:, 0].all():
            raise ArtifactError(f"{file}: attention_mask is not right padded (ones, then zeros): export again")
        if routes.min() < 0 or routes.max() >= len(manifest.widths):
            raise ArtifactError(f"{file}: routes leave the {len(manifest.widths)} widths: export the artifact again")
        types = arrays["token_type_ids"] if manifest.tokenizer.token_types else None
        batch = TokenBatch(arrays["input_ids"], mask, types)
        return cls(batch, arrays["logits"], arrays["router_logits"], routes, arrays["texts"])


def _layout(manifest: Manifest, rows: int, tokens: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each array."""
    widths, labels = len(manifest.widths), len(manifest.labels)
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * manifest.tokenizer.token_types
    return {
        **dict.fromkeys(names, ("int64", (rows, tokens))),
        "logits": ("float32", (widths, rows, labels)),
        "router_logits": ("float32", (rows, widths)),
        "routes": ("int64", (rows,)),
        "texts": ("text", (rows, manifest.text_inputs)),
    }


def _read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, zlib and numpy raise half a dozen kinds for damaged bytes
        raise ArtifactError(f"{file} is not a readable .npz file ({error}): export the artifact again") from None
