"""Trains a small llama from nothing, and writes a folder that `mlx_lm.load` takes."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..backends.checkpoints import Config
from ..backends.mlx import install, mx, nn, ops
from ..core.atomic import replace
from ..core.types import Tree
from ..errors import DataError, ModelError
from .evaluate import loss, number


@dataclass(frozen=True)
class Size:
    """The sizes of a llama with tied embeddings; the defaults are those of the embedded base."""

    vocabulary: int = 6144
    width: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 768
    context: int = 256

    def config(self) -> Config:
        """The config.json of such a model."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "intermediate_size": self.feed_forward,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.width // self.heads,
            "rms_norm_eps": 1e-5,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.context,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "torch_dtype": "float16",
        }


@dataclass(frozen=True)
class Plan:
    """The length and the rates of a training. `minutes` ends it early, with the schedule bent to fit; 0 is no limit."""

    steps: int = 4200
    minutes: float = 0.0
    batch: int = 32
    lr: float = 2e-3
    warmup: int = 200
    decay: float = 0.1
    clip: float = 1.0
    dtype: str = "float32"
    seed: int = 0
    every: int = 100

    def done(self, step: int, seconds: float) -> float:
        """The share of the run that is over, by steps or by time, whichever is nearer its end."""
        return max(step / self.steps, seconds / (60 * self.minutes) if self.minutes else 0.0)

    def rate(self, step: int, done: float) -> float:
        """The learning rate: linear warm-up, constant to 60% of the run, then linear down to 2%."""
        return self.lr * min(1.0, (step + 1) / max(self.warmup, 1), 1 - 0.98 * (done - 0.6) / 0.4)


@dataclass(frozen=True)
class Progress:
    """The progress of a run: `loss` in nats per token over the steps since the last report, `left` in seconds."""

    step: int
    loss: float
    tokens_per_second: float
    left: float


def build(size: Size, seed: int) -> nn.Module:
    """Makes the model with matrices drawn from normal(0, 0.02)."""
    from mlx_lm.models import llama

    model = llama.Model(llama.ModelArgs.from_dict(size.config()))
    rng = np.random.default_rng((seed, 1))

    def drawn(p: mx.array) -> mx.array:
        return mx.array(rng.normal(0, 0.02, p.shape).astype(np.float32)) if p.ndim > 1 else p

    model.update(ops.map_tree(drawn, model.parameters()))
    return model


def sequences(ids: np.ndarray, step: int, plan: Plan, context: int) -> np.ndarray:
    """The batch of one step, (batch, context + 1): windows of the stream in an order drawn anew for each epoch."""
    windows = (len(ids) - 1) // context
    if windows < plan.batch:
        raise DataError(f"a corpus of {len(ids)} tokens gives {windows} windows; a batch needs {plan.batch}: add text")
    epoch, first = divmod(step, windows // plan.batch)
    order = np.random.default_rng((plan.seed, 2, epoch)).permutation(windows)[first * plan.batch :][: plan.batch]
    return np.stack([ids[i * context : i * context + context + 1] for i in order]).astype(np.int32)


class Training:
    """A run that can stop and go on: weights and Adam's moments (fp32), steps and seconds done, in one file."""

    def __init__(self, size: Size, plan: Plan):
        from mlx.optimizers import Adam

        install()
        self.size, self.plan, self.step, self.seconds = size, plan, 0, 0.0
        self.model = build(size, plan.seed)
        self.weights: Tree = self.model.trainable_parameters()
        self.optimizer = Adam(plan.lr, betas=[0.9, 0.95], bias_correction=True)
        self.optimizer.init(self.weights)
        self._record = json.dumps([asdict(size), asdict(plan)], sort_keys=True)
        self._gradient = mx.value_and_grad(self._loss)

    def _loss(self, weights: Tree, batch: mx.array) -> mx.array:
        dtype = getattr(mx, self.plan.dtype)
        self.model.update(ops.map_tree(lambda p: p.astype(dtype), weights))
        return loss(self.model, batch).mean()

    def advance(self, batch: mx.array) -> float:
        """Takes one step of AdamW, matrices decayed, and returns the loss before it."""
        rate = self.plan.rate(self.step, self.plan.done(self.step, self.seconds))
        value, gradients = self._gradient(self.weights, batch)
        gradients, _ = ops.clip(gradients, self.plan.clip)
        decayed = ops.map_tree(lambda p: p * (1 - rate * self.plan.decay) if p.ndim > 1 else p, self.weights)
        self.optimizer.learning_rate = rate
        self.weights = self.optimizer.apply_gradients(gradients, decayed)
        mx.eval(value, self.weights, self.optimizer.state)
        self.step += 1
        return number(value)

    def run(self, ids: np.ndarray) -> Iterator[Progress]:
        """Trains to the end of the plan, reporting every `every` steps and at the end."""
        recent: list[float] = []
        while self.plan.done(self.step, self.seconds) < 1:
            start = time.perf_counter()
            recent.append(self.advance(mx.array(sequences(ids, self.step, self.plan, self.size.context))))
            self.seconds += time.perf_counter() - start
            done = self.plan.done(self.step, self.seconds)
            if not np.isfinite(recent[-1]):
                raise ModelError(f"loss {recent[-1]} at step {self.step}; lower --lr (now {self.plan.lr:g})")
            if self.step % self.plan.every == 0 or done >= 1:
                rate = self.step * self.plan.batch * self.size.context / self.seconds
                yield Progress(self.step, float(np.mean(recent)), rate, self.seconds * max(0.0, 1 / done - 1))
                recent = []

    def save(self, path: Path) -> None:
        """Writes the whole state; the file appears whole or not at all."""
        tree = {"weights": self.weights, "optimizer": self.optimizer.state}
        metadata = {"step": str(self.step), "seconds": repr(self.seconds), "run": self._record}
        replace(path, lambda partial: ops.save(partial, tree, metadata))

    def resume(self, path: Path) -> None:
        """Restores the state that `save` wrote; raises ModelError where that was another run."""
        metadata = ops.metadata(path)
        if metadata["run"] != self._record:
            raise ModelError(f"{path} belongs to a run with other settings; repeat those, or choose another --out")
        # In the order of the trees that stand here: sums over a tree then round as in the unbroken run.
        loaded = ops.load(path, {"weights": self.weights, "optimizer": self.optimizer.state})
        self.weights, self.optimizer.state = loaded["weights"], loaded["optimizer"]
        self.step, self.seconds = int(metadata["step"]), float(metadata["seconds"])

    def write(self, folder: Path) -> None:
        """Writes config.json and fp16 weights for `mlx_lm.load`."""
        (folder / "config.json").write_text(json.dumps(self.size.config(), indent=1))
        halves = ops.map_tree(lambda p: p.astype(mx.float16), self.weights)
        ops.save(folder / "model.safetensors", halves, {"format": "mlx"})
