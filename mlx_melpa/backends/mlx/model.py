"""Base models through mlx-lm: loading, identity, and the sites where adapters may sit."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ...errors import ModelError
from ...sites import Site
from . import ops
from .slots import Reading, Tap

ATTENTION = ("self_attn", "attn", "attention", "linear_attn", "mixer", "temporal_block", "conv")
FEED_FORWARD = ("mlp", "feed_forward", "block_sparse_moe", "ffn", "mlp_block")
FETCHED = ["*.json", "*.safetensors", "*.py", "*.model", "*.txt", "*.jinja"]
SIZES_LEFT_OUT = {
    "quantization",
    "quantization_config",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "_name_or_path",
}


@dataclass
class Base:
    """A frozen model with its tokenizer.

    `family` identifies configuration, tokenizer and shapes; `weights` the numbers. A quantized or converted copy is of
    the same family with other weights.
    """

    name: str
    model: nn.Module
    tokenizer: Any
    config: dict[str, Any]
    reading: Reading
    width: int
    folder: Path | None = None

    @property
    def blocks(self) -> list[nn.Module]:
        """The list that owns the model's blocks (some models' `layers` is a copy)."""
        listed = list(self.model.layers)
        found = _owned(self.model, listed)
        if found is None:
            raise ModelError(f"{self.name}: its blocks are not kept in one list, so adapters can't be put around them")
        return found

    @cached_property
    def sites(self) -> list[Site]:
        """Every linear layer and every sub-block, in the model's order; measured by one forward pass."""
        return _sites(self.blocks, self.width, self.name)

    @cached_property
    def family(self) -> str:
        """A fingerprint of configuration and tokenizer, 16 hex digits."""
        kept = {k: v for k, v in self.config.items() if k not in SIZES_LEFT_OUT}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode())
        vocabulary = sorted(self.tokenizer.get_vocab().items(), key=lambda item: item[1])
        digest.update(json.dumps(vocabulary).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def weights(self) -> str:
        """A fingerprint of the weight files: names, sizes, and 1 MiB from the start, middle and end; 16 hex digits."""
        files = sorted(self.folder.glob("*.safetensors")) if self.folder else []
        if not files:
            return _hash_arrays(self.model)
        digest = hashlib.sha256()
        for file in files:
            size = file.stat().st_size
            digest.update(f"{file.name}:{size}".encode())
            with file.open("rb") as handle:
                for at in {0, max(0, size // 2), max(0, size - 2**20)}:
                    handle.seek(at)
                    digest.update(handle.read(2**20))
        return digest.hexdigest()[:16]

    @property
    def parameters(self) -> int:
        """The count of weights of the base."""
        from mlx_lm.utils import get_total_parameters

        return int(get_total_parameters(self.model))


def _hash_arrays(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in ops.flatten(model.parameters()):
        digest.update(f"{name}{value.shape}{ops.numpy(value.astype(mx.float32).sum())}".encode())
    return digest.hexdigest()[:16]


def load(name: str) -> Base:
    """Loads a base by hub name or folder; `pocket` is the one that comes with the package.

    Raises ModelError where it can't be had. On a CPU unquantized weights become float32, the fast format there.
    """
    import mlx_lm
    from huggingface_hub import snapshot_download

    if name == "pocket":
        from ...pocket import folder

        path = folder()
    elif Path(name).expanduser().exists():
        path = Path(name).expanduser()
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")):
        try:
            path = Path(snapshot_download(name, allow_patterns=FETCHED))
        except Exception as error:
            raise ModelError(
                f"model '{name}' can't be fetched: {_first_line(error)}; "
                "check the name and the network, or give a local folder"
            ) from error
    else:
        raise ModelError(
            f"model '{name}' is no folder here and no hub name; give 'pocket', a folder, "
            "or a name such as mlx-community/Qwen3-0.6B-4bit"
        )
    if not (path / "config.json").is_file():
        raise ModelError(f"model '{name}': there is no config.json in {path}; give a folder that mlx-lm loads")
    try:
        model, tokenizer, config = mlx_lm.load(str(path), return_config=True)  # type: ignore[misc]
    except Exception as error:
        raise ModelError(f"model '{name}' can't be loaded: {_first_line(error)}") from error
    return wrap(name, model, tokenizer, config, path)


def wrap(name: str, model: nn.Module, tokenizer: Any, config: dict[str, Any], folder: Path | None = None) -> Base:
    """Makes a Base of a model that is already in memory."""
    if mx.default_device().type == mx.DeviceType.cpu:
        model.set_dtype(mx.float32)
    model.freeze()
    model.eval()
    # Gated delta layers pick a kernel without a gradient unless they are told that they train.
    for module in model.modules():
        if hasattr(module, "A_log"):
            module.train()
    mx.eval(model.parameters())
    reading = _tap(model, name)
    width = int(hidden(model, reading, mx.array([[1, 2]])).shape[-1])
    return Base(name, model, tokenizer, config, reading, width, folder)


def hidden(model: nn.Module, reading: Reading, tokens: mx.array) -> mx.array:
    """The last hidden states (R, L, d) of tokens (R, L), what the head would read."""
    reading.stop = True
    try:
        model(tokens)
    finally:
        reading.stop = False
    kept, reading.hidden = reading.hidden, None
    assert kept is not None
    return kept


def logits(model: nn.Module, reading: Reading, tokens: mx.array, index: mx.array) -> mx.array:
    """The logits (N, V) of tokens (R, L) at flat positions `index` (N,) of R*L."""
    reading.index = index
    try:
        out = model(tokens)
    finally:
        reading.index = None
    return out.reshape(index.shape[0], -1)


def _tap(model: nn.Module, name: str) -> Reading:
    """Puts taps around the head and around the token embedding, whichever of the two the model projects with."""
    reading = Reading()
    embeddings = [
        (owner, key)
        for _, owner in model.named_modules()
        for key, child in list(owner.items())
        if isinstance(child, (nn.Embedding, nn.QuantizedEmbedding))
    ]
    heads = [
        (owner, "lm_head")
        for _, owner in model.named_modules()
        if isinstance(owner.get("lm_head"), (nn.Linear, nn.QuantizedLinear))
    ]
    for owner, key in (*embeddings, *heads):
        owner[key] = Tap(owner[key], reading)
    hidden_calls = reading.calls
    mx.eval(logits(model, reading, mx.array([[1, 2]]), mx.array([1])))
    if reading.calls != hidden_calls + 1:
        raise ModelError(f"{name}: its head could not be found, so this architecture can't be adapted")
    return reading


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _owned(module: Any, listed: list[nn.Module]) -> list[nn.Module] | None:
    """Finds the list inside the module tree whose members are exactly `listed`."""
    if isinstance(module, list):
        if len(module) == len(listed) and all(a is b for a, b in zip(module, listed, strict=True)):
            return module
        children: list[Any] = module
    elif isinstance(module, dict):  # modules are dicts too
        children = list(module.values())
    else:
        return None
    for child in children:
        found = _owned(child, listed)
        if found is not None:
            return found
    return None


def _sites(blocks: list[nn.Module], width: int, name: str) -> list[Site]:
    from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear

    switch = (SwitchLinear, QuantizedSwitchLinear)
    found: list[Site] = []
    for layer, block in enumerate(blocks):
        inside = dict(block.named_modules())
        experts = [p for p, m in inside.items() if p and any(isinstance(c, switch) for c in m.modules())]
        for path, module in reversed(list(inside.items())):
            top = path.count(".") == 0
            if path in ATTENTION and top:
                found.append(Site(layer, path, width, width, "attention"))
            elif path in FEED_FORWARD and top:
                found.append(Site(layer, path, width, width, "feed_forward"))
            elif isinstance(module, (nn.Linear, nn.QuantizedLinear, *switch)):
                among = [p for p in experts if path == p or path.startswith(p + ".")]
                refused = (
                    f"'{path}' of {name} belongs to a mixture of experts ('{among[0]}'), which sorts tokens by expert "
                    "and would mix users; adapt attention, or the block's output with a bottleneck"
                    if among
                    else ""
                )
                wide = (0, 0) if refused else _linear_widths(module)
                found.append(Site(layer, path, *wide, "linear", refused))
    if not any(s.role == "linear" and not s.refused for s in found):
        raise ModelError(f"{name}: no linear layer was found in its blocks")
    return found


def _linear_widths(module: nn.Module) -> tuple[int, int]:
    out = module.weight.shape[0]
    if isinstance(module, nn.QuantizedLinear):  # packed: the input width stands in the scales
        return module.scales.shape[1] * module.group_size, out
    return module.weight.shape[1], out
