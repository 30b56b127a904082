"""Base models through transformers: causal ones, encoders and encoder-decoders; loading, identity, forward passes."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...core.sites import Site
from ...data.tokens import padding
from ...errors import ModelError
from ..base import BaseModel, Kind
from ..checkpoints import Config, fetch, first_line
from ..checkpoints import config as read_config
from . import sites as places
from .device import autocast, device, dtype
from .gradients import say_which_attention
from .slots import Reading


@dataclass
class Base(BaseModel):
    """A frozen model of transformers."""

    reading: Reading = field(default_factory=Reading)

    @cached_property
    def blocks(self) -> list[nn.Module]:
        """The model's blocks, an encoder's before its decoder's."""
        return places.blocks(self.model, self.name)

    @cached_property
    def sites(self) -> list[Site]:
        """The input, every linear layer and sub-block in the model's order, then each block's keys and values."""
        two = self.kind == "encoder-decoder"
        refused = f"{self.name} reads two texts, the encoder's and the decoder's; take lora" if two else ""
        entry = Site(0, "input", self.width, self.width, "input", refused)
        look = [Site(0, "cache", 0, 0, "cache", refused)] if two else places.caches(self.blocks, self._one, self.name)
        return [entry, *places.sites(self.blocks, self.width, self.name), *look]

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """The last hidden states (R, L, d) of tokens (R, L), what the head would read; of two stacks the encoder's."""
        if self.kind == "encoder-decoder":
            return self._run(self.model.get_encoder(), tokens, self._real(tokens)).last_hidden_state
        mask = None if self.kind == "causal" else self._real(tokens)
        if not self.head:
            return self._run(self.model, tokens, mask).last_hidden_state
        self.reading.stop = True
        try:
            self._run(self.model, tokens, mask)
        finally:
            self.reading.stop = False
        kept, self.reading.hidden = self.reading.hidden, None
        assert kept is not None
        return kept

    def logits(self, tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """The logits (N, V) of tokens (R, L) at flat positions `index` (N,) of R*L, float32.

        A causal model's are those of the next token, an encoder's those of the token at the position. An
        encoder-decoder reads each sequence up to the first position asked about, and writes from there on.
        """
        if not self.head:
            raise ModelError(
                f"{self.name} has no head that knows its tokens, only hidden states; set readout: prototypes"
            )
        mask, written = None if self.kind == "causal" else self._real(tokens), {}
        if self.kind == "encoder-decoder":
            tokens, mask, written["decoder_input_ids"], index = self._divided(tokens, index)
        self.reading.index = index
        try:
            out = self._run(self.model, tokens, mask, **written).logits
        finally:
            self.reading.index = None
        return out.reshape(index.shape[0], -1).float()

    def _run(self, model: nn.Module, tokens: torch.Tensor, mask: torch.Tensor | None, **given: torch.Tensor) -> Any:
        more = {} if self.kind == "encoder" or not hasattr(self.model, "generate") else {"use_cache": False}
        say_which_attention()
        with autocast():
            return model(input_ids=tokens, attention_mask=mask, **more, **given)

    def _one(self) -> torch.Tensor:
        """Reads one token: what several are read with may repeat key heads."""
        return self.hidden(torch.ones(1, 1, dtype=torch.long, device=device))

    def _real(self, tokens: torch.Tensor) -> torch.Tensor:
        """1 where a sequence has tokens, 0 on the padding at its end: (R, L)."""
        there = (tokens != padding(self.tokenizer)).long()
        there[:, 0] = 1
        return there.flip(1).cummax(1).values.flip(1)

    def _divided(self, tokens: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The encoder's tokens and mask, the decoder's tokens, and the flat positions to read there."""
        count, length = tokens.shape
        row, position = index // length, index % length
        first = torch.full((count,), length - 1, device=tokens.device)
        first = first.scatter_reduce(0, row, position, "amin")
        places = torch.arange(length + 1, device=tokens.device)
        end = torch.full((count, 1), int(self.config.get("eos_token_id") or 0), device=tokens.device)
        padded = torch.cat([tokens, end], 1)
        read = torch.where(places == first[:, None] + 1, end, padded)
        mask = (places <= first[:, None] + 1).long()
        most = int((position - first[row]).max()) + 1
        at = (first[:, None] + torch.arange(most, device=tokens.device)).clamp(max=length)
        written = padded.gather(1, at)
        written[:, 0] = int(self.model.config.decoder_start_token_id)
        width = int(first.max()) + 2
        return read[:, :width], mask[:, :width], written, row * most + position - first[row]

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for name, value in self.model.named_parameters():
            digest.update(f"{name}{tuple(value.shape)}{value.float().sum().item()}".encode())
        return digest.hexdigest()[:16]


def load(name: str) -> Base:
    """Loads a base by hub name or folder; `pocket` is the one that comes with the package.

    Raises ModelError where it can't be had, and for one that MLX quantized.
    """
    path = fetch(name)
    config = read_config(path)
    if "quantization" in config or config.get("quantization_config", {}).get("group_size"):
        raise ModelError(
            f"model '{name}' is quantized in MLX's format, which torch can't read; give the copy that it was made from "
            "(and --allow-other-weights where a run knows this one), or --backend mlx"
        )
    try:
        from transformers import AutoTokenizer

        kind, build, head = _kind(config)
        with _quiet():
            model, found = build(str(path), dtype=dtype, output_loading_info=True)
            tokenizer = AutoTokenizer.from_pretrained(str(path))
    except ImportError as error:
        raise ModelError(
            f"backend torch needs transformers ({error}); run: pip install 'mlx-melpa[torch]', or --backend mlx"
        ) from error
    except Exception as error:
        raise ModelError(f"model '{name}' can't be loaded by torch: {first_line(error)}") from error
    # transformers fills what it does not find with random numbers and goes on
    missing = sorted(key for key in found["missing_keys"] if "pooler" not in key)
    if missing:
        raise ModelError(
            f"model '{name}' lacks {len(missing)} of the weights that torch looks for, such as {missing[0]}: it was "
            "written for another engine; give the copy that it was made from, or --backend mlx"
        )
    return wrap(name, model, tokenizer, config, kind=kind, head=head, folder=path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' bars and tables off the screen while it loads; what they say is checked here."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _kind(config: Config) -> tuple[Kind, Callable[..., Any], bool]:
    """The kind that a configuration describes, its loader, and True if it has a head over tokens."""
    import transformers as hf

    architecture = (config.get("architectures") or [""])[0]
    if config.get("is_encoder_decoder"):
        return "encoder-decoder", hf.AutoModelForSeq2SeqLM.from_pretrained, True
    if architecture.endswith("ForMaskedLM"):
        return "encoder", hf.AutoModelForMaskedLM.from_pretrained, True
    masked = hf.models.auto.modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.get("model_type") in masked and not architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "encoder", hf.AutoModel.from_pretrained, False
    return "causal", hf.AutoModelForCausalLM.from_pretrained, True


def wrap(
    name: str,
    model: nn.Module,
    tokenizer: Any,
    config: Config,
    *,
    kind: Kind = "causal",
    head: bool = True,
    folder: Path | None = None,
) -> Base:
    """Makes a Base of a model that is already in memory."""
    model.to(device=device, dtype=dtype).requires_grad_(False).eval()
    reading = Reading()
    if head:
        _head(model, kind, name).register_forward_pre_hook(reading.tap)
    base = Base(name, model, tokenizer, config, kind, folder=folder, head=head, reading=reading)
    base.width = int(base.hidden(torch.tensor([[1, 2]], device=device)).shape[-1])
    return base


def _head(model: Any, kind: str, name: str) -> nn.Module:
    if kind != "encoder":
        found = model.get_output_embeddings()
    else:  # what follows the encoder: bert's `cls`, roberta's `lm_head`
        found = next((child for child in model.children() if child is not model.base_model), None)
    if found is None:
        raise ModelError(f"{name}: its head could not be found, so this architecture can't be adapted")
    return found
