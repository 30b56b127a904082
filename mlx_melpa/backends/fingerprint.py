"""Fingerprints of base models, the same on every engine."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

SIZES_LEFT_OUT = {
    "quantization",
    "quantization_config",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "_name_or_path",
}


def family(config: Mapping[str, object], vocabulary: Mapping[str, int]) -> str:
    """A fingerprint of a configuration, as its folder's files give it, and of a tokenizer; 16 hex digits."""
    kept = {k: v for k, v in config.items() if k not in SIZES_LEFT_OUT}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode())
    ordered = sorted(vocabulary.items(), key=lambda item: item[1])
    digest.update(json.dumps(ordered).encode())
    return digest.hexdigest()[:16]


def weights(folder: Path | None) -> str | None:
    """A fingerprint of a folder's weight files: names, sizes, and 1 MiB from the start, middle and end; 16 hex digits.

    None where there are no files.
    """
    files = sorted(folder.glob("*.safetensors")) if folder else []
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as handle:
            for at in {0, max(0, size // 2), max(0, size - 2**20)}:
                handle.seek(at)
                digest.update(handle.read(2**20))
    return digest.hexdigest()[:16]
