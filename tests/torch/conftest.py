"""What the tests of the second engine share: one llama on both engines, and tiny random models as folders.

torch and transformers are imported within fixtures, so that without them test files skip with a reason of their own.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.config.build import engine, part_of

ENGINES = ("mlx", "torch")
LLAMA: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 66,
}
BERT = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2Config",
        "GPT2LMHeadModel",
        {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "n_ctx": 64},
    ),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", LLAMA),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {**LLAMA, "head_dim": 8, "tie_word_embeddings": False}),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", {**LLAMA, "pad_token_id": 0}),
    "bert": ("BertConfig", "BertForMaskedLM", BERT),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", BERT),
    "t5": (
        "T5Config",
        "T5ForConditionalGeneration",
        {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    ),
}


@pytest.fixture(scope="session")
def small_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small llama: the shared folder's, or where there is none (`make gpu` runs anywhere) a random one."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    there = Path(os.environ.get("MELPA_SHARED") or Path(__file__).parents[3] / "shared") / "models" / "stories260k"
    if there.is_dir():
        return there
    folder = tmp_path_factory.mktemp("llama")
    written = Tokenizer(models.BPE(unk_token="<unk>"))
    written.pre_tokenizer, written.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=special, initial_alphabet=alphabet)
    written.train_from_iterator(sorted(Path(__file__).parent.glob("*.py"), key=str)[0].read_text().split("\n"), trainer)
    marks = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    hf.PreTrainedTokenizerFast(tokenizer_object=written, **marks).save_pretrained(folder)
    torch.manual_seed(0)
    made = hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA, bos_token_id=1, eos_token_id=2))
    for parameter in made.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.2)
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bases(small_llama: Path) -> dict[str, Any]:
    """One small llama on both engines."""
    return {name: part_of(name, "model").load(str(small_llama)) for name in ENGINES}


@pytest.fixture
def put(bases: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """Puts an adapter on the base of an engine, or on another base, and takes it off when the test ends."""
    there: list[Any] = []

    def on(name: str, kind: str = "lora", base: Any = None, **settings: Any) -> Any:
        there.append(part_of(name, "adapted").Adapted(base or bases[name], KINDS[kind](**settings)))
        return there[-1]

    yield on
    for adapted in there:
        adapted.detach()


@pytest.fixture(scope="session")
def ops() -> Any:
    """The second engine's operations."""
    return engine("torch")


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory, small_llama: Path) -> Callable[[str], Path]:
    """Gives the folder of a tiny random model by its kind, or of the small llama."""
    import torch
    import transformers as hf

    tokenizer, home = small_llama, tmp_path_factory.mktemp("models")

    def folder(kind: str) -> Path:
        if kind == "llama":
            return tokenizer
        if (home / kind).is_dir():
            return home / kind
        config, model, settings = CONFIGS[kind]
        described = getattr(hf, config)(**{"vocab_size": 512, **settings}, bos_token_id=1, eos_token_id=2)
        torch.manual_seed(0)
        made = getattr(hf, model)(described)
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.data.normal_(0, 0.1)
        # mlx-lm reads gpt2 under the bare model's names, as the hub has it, and the rope's base at the top level
        (made.transformer if kind == "gpt2" else made).save_pretrained(home / kind)
        written = json.loads((home / kind / "config.json").read_text())
        (home / kind / "config.json").write_text(json.dumps({"rope_theta": 10000.0, **written}))
        hf.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(home / kind)
        return home / kind

    return folder
