"""The fields of a version that share one JSON column, and how version 0.1 wrote them."""

import json
from dataclasses import asdict

from ..config.renamed import rename
from ..core.types import Json
from .version import BitsPerByte, Origin, Version


def write(version: Version) -> str:
    """The column's text; empty fields are left out."""
    found = {
        "labels": version.labels,
        "metrics": dict(version.metrics),
        "description": version.description,
        "origin": _known(version.origin),
        "bits_per_byte": _known(version.bits_per_byte),
        "job": version.job,
    }
    kept = {name: value for name, value in found.items() if value or name in ("labels", "metrics")}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"), default=float)


def read(text: str) -> Json:
    """The fields by name, as arguments of a Version."""
    found = json.loads(text)
    if "about" in found or found["metrics"].keys() & {"backend", "form", "order", "adapter", "general_base"}:
        found = _from_0_1(found)
    return {
        "labels": tuple(found["labels"]),
        "metrics": found["metrics"],
        "description": found.get("description", ""),
        "origin": Origin(**found.get("origin", {})),
        "bits_per_byte": BitsPerByte(**found.get("bits_per_byte", {})),
        "job": found.get("job", ""),
    }


def _known(fields: Origin | BitsPerByte) -> dict[str, object]:
    return {name: value for name, value in asdict(fields).items() if value is not None}


def _from_0_1(found: Json) -> Json:
    """Version 0.1 named the description "about", and kept origin, bits per byte and job among the metrics."""
    metrics, _ = rename(found["metrics"])  # "readout" is there as in a recipe
    metrics.pop("random_start", None)
    origin = {"engine": "backend", "adapter": "adapter", "readout": "readout", "form": "form"}
    bits = {"base": "general_base", "version": "general"}
    return {
        "labels": found["labels"],
        "description": found.get("about", ""),
        "origin": {name: metrics.pop(old, None) for name, old in origin.items()},
        "bits_per_byte": {name: metrics.pop(old, None) for name, old in bits.items()},
        "job": metrics.pop("order", ""),
        "metrics": metrics,
    }
