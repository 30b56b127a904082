"""Bases through transformers: the names and numbers of mlx-lm's for causal ones, and what encoders and T5 add."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_melpa.adapters import KINDS
from mlx_melpa.config.build import part_of
from mlx_melpa.errors import ModelError

torch = pytest.importorskip("torch", reason="pip install 'mlx-melpa[torch]'")
pytest.importorskip("transformers", reason="pip install 'mlx-melpa[torch]'")
ENGINES = ("mlx", "torch")
CAUSAL, OTHERS = ("gpt2", "qwen2", "qwen3", "phi3"), ("bert", "roberta", "t5")
TOKENS = np.random.default_rng(1).integers(3, 500, (4, 9))


@pytest.fixture(scope="session", params=["llama", *CAUSAL])
def pair(request: pytest.FixtureRequest, folder_of: Callable[[str], Path]) -> list[Any]:
    """One causal base on both engines."""
    return [part_of(name, "model").load(str(folder_of(request.param))) for name in ENGINES]


@pytest.fixture
def other(request: pytest.FixtureRequest, folder_of: Callable[[str], Path]) -> Any:
    return part_of("torch", "model").load(str(folder_of(request.param)))


@pytest.fixture
def adapted() -> Iterator[Callable[..., Any]]:
    there: list[Any] = []

    def on(base: Any, name: str, kind: str, **settings: Any) -> Any:
        there.append(part_of(name, "adapted").Adapted(base, KINDS[kind](**settings)))
        return there[-1]

    yield on
    for one in there:
        one.detach()


def rows(layout: Any, tasks: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (tasks, layout.size))


def test_identity_and_sites_are_those_of_mlx(pair: list[Any]) -> None:
    first, second = pair
    assert (first.family, first.weights, first.width) == (second.family, second.weights, second.width)
    assert first.sites == second.sites
    assert first.parameters == second.parameters


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_and_logits_are_those_of_mlx(pair: list[Any], adapted: Callable[..., Any], kind: str) -> None:
    found = []
    for base, name in zip(pair, ENGINES, strict=True):
        ops, model = part_of(name, "ops"), adapted(base, name, kind, **({} if kind == "prompt" else {"layers": 2}))
        values, tokens = ops.array(rows(model.layout)), ops.array(TOKENS)
        start = model.frozen_states(tokens)[1]
        assert model.frozen_blocks == (0 if kind == "prompt" else len(base.blocks) - 2)
        assert (start is None) == (kind == "prompt"), "a prompt comes before all blocks"
        logits = [ops.numpy(model.logits(values, tokens, ops.array(np.arange(36)), s)) for s in (None, start)]
        assert np.array_equal(*logits)
        found.append((logits[0], ops.numpy(model.hidden(values, tokens))))
    for mlx, torch_ in zip(*found, strict=True):
        # Both sum in float32, in other orders: by processor and threads up to 20 roundings of the largest number here.
        assert np.abs(mlx - torch_).max() <= 32 * np.finfo(np.float32).eps * max(10, np.abs(mlx).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", OTHERS, indirect=True)
def test_every_site_of_the_others_acts_and_rows_never_mix(other: Any, adapted: Callable[..., Any], kind: str) -> None:
    ops = part_of("torch", "ops")
    tokens, index = ops.array(TOKENS), ops.array(np.sort([*range(5, 36, 9), *range(6, 36, 9)]))
    before = other.logits(tokens, index)
    if kind in ("prompt", "prefix") and other.kind == "encoder-decoder":
        with pytest.raises(ModelError, match="reads two texts"):
            adapted(other, "torch", kind)
        return
    model = adapted(other, "torch", kind)
    start = ops.array(np.stack([model.layout.draw(np.random.default_rng(i)) for i in range(2)]))
    assert torch.equal(model.logits(start, tokens, index), before) == (kind not in ("prompt", "prefix"))
    values = rows(model.layout)
    both = model.logits(ops.array(values), tokens, index)
    alone = model.logits(ops.array(values[1:]), tokens[2:], index[:4])
    assert (alone - both[4:]).abs().max() < 1e-5
    for site in model.sites:
        own = np.concatenate([np.full(s.size, s.name.startswith(f"{site.name}.")) for s in model.layout.segments])
        assert not torch.equal(model.logits(ops.array(values * own), tokens, index), before), site.name
    model.detach()
    assert torch.equal(other.logits(tokens, index), before)
    assert model.frozen_blocks == 0


@pytest.mark.parametrize("other", ["bert", "roberta"], indirect=True)
def test_an_encoder_does_not_see_padding_and_keeps_its_prefix(other: Any, adapted: Callable[..., Any]) -> None:
    ops = part_of("torch", "ops")
    padded = np.concatenate([TOKENS, np.full((4, 3), 2)], 1)
    plain, wide = (other.hidden(ops.array(t)) for t in (TOKENS, padded))
    assert (wide[:, :9] - plain).abs().max() < 1e-5
    model = adapted(other, "torch", "lora", layers=2)
    assert model.frozen_blocks == 2
    values, tokens = ops.array(rows(model.layout)), ops.array(padded)
    assert torch.equal(model.hidden(values, tokens, model.frozen_states(tokens)[1]), model.hidden(values, tokens))


@pytest.mark.parametrize("other", ["t5"], indirect=True)
def test_t5_reads_up_to_the_first_question_and_writes_from_there(other: Any) -> None:
    ops = part_of("torch", "ops")
    prompts, targets = [[5, 6, 7, 8], [9, 10]], [[20, 21, 22], [30, 31]]
    wanted = []
    for prompt, target in zip(prompts, targets, strict=True):
        out = other.model(input_ids=ops.array([[*prompt, 2]]), labels=ops.array([target]))
        wanted.append(out.logits[0])
    tokens = np.full((2, 6), 2)
    tokens[0], tokens[1, :3] = [5, 6, 7, 8, 20, 21], [9, 10, 30]
    found = other.logits(ops.array(tokens), ops.array([3, 4, 5, 7, 8]))
    assert (found - torch.cat(wanted)).abs().max() < 1e-5


def test_the_second_derivative_goes_through_attention(pair: list[Any], adapted: Callable[..., Any]) -> None:
    ops, model = part_of("torch", "ops"), adapted(pair[1], "torch", "lora", layers=1)
    tokens, index = ops.array(TOKENS), ops.array(np.arange(36))

    def loss(values: Any) -> Any:
        z = model.logits(values, tokens, index)
        return (ops.log_sum_exp(z)[:, 0] - z[:, 3]).mean()

    values = ops.array(rows(model.layout, 1))
    _, _, curve = ops.value_and_grad(lambda v: ((ops.grad(loss, v) ** 2).sum(), ()), values)
    # along the gradient of the loss: d/dh |g(v + h u)|^2 by a central difference
    along = curve / curve.norm()
    sides = [float((ops.grad(loss, values + h * along) ** 2).sum()) for h in (1e-2, -1e-2)]
    assert abs((sides[0] - sides[1]) / 2e-2 / float((curve * along).sum()) - 1) < 1e-2


def test_a_second_adapter_on_one_base_is_refused(pair: list[Any], adapted: Callable[..., Any]) -> None:
    adapted(pair[1], "torch", "lora")
    with pytest.raises(ModelError, match="already carries an adapter"):
        adapted(pair[1], "torch", "lora")


def test_what_one_engine_alone_can_load_is_refused_by_the_other(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    from mlx_lm.utils import quantize_model, save

    from mlx_melpa.backends.mlx.model import load

    with pytest.raises(ModelError, match=r"bert not supported.*; backend torch may know it"):
        load(str(folder_of("bert")))
    base = load(str(folder_of("llama")))
    model, config = quantize_model(base.model, dict(base.config), group_size=32, bits=4)
    save(tmp_path / "small", str(folder_of("llama")), model, base.tokenizer, config)
    with pytest.raises(ModelError, match=r"quantized in MLX's format.*--backend mlx"):
        part_of("torch", "model").load(str(tmp_path / "small"))


def test_weights_that_are_not_there_are_not_made_up(shared: Path) -> None:
    folder = str(shared / "models" / "tinystories-instruct-3m")  # written by mlx-lm, under names of its own
    with pytest.raises(ModelError, match=r"lacks \d+ of the weights .* written for another engine"):
        part_of("torch", "model").load(folder)


def test_writing_goes_token_by_token_with_the_row(bases: dict[str, Any], adapted: Callable[..., Any]) -> None:
    base = bases["torch"]
    model, write = adapted(base, "torch", "lora"), part_of("torch", "generate").write
    prompt = [1, 403, 407]
    plain = "".join(write(model, None, prompt, max_tokens=8, temp=0.0, seed=0))
    ids = base.model.generate(
        part_of("torch", "ops").array([prompt]), max_new_tokens=8, do_sample=False, pad_token_id=2
    )[0, 3:]
    kept = ids.tolist()[: ids.tolist().index(2)] if 2 in ids.tolist() else ids.tolist()
    assert base.tokenizer.decode(kept).startswith(plain) and plain
    strong = (10 * rows(model.layout, 1)).astype(np.float32)
    assert "".join(write(model, strong, prompt, max_tokens=8, temp=0.0, seed=0)) != plain
