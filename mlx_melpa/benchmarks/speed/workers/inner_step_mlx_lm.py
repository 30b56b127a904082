"""A worker: mlx-lm's own LoRA trainer, on the examples and from the start that our worker wrote."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ....backends.mlx import malloc  # its BLAS and its heap; nothing else of it
from ....core.types import Json
from ..interleaved import Clock, Reply, serve

FOREVER = 1_000_000_000


def load(settings: Json, folder: Path) -> Any:
    """The base in fp32 with mlx-lm's LoRA layers, holding the weights in `folder`."""
    import mlx.core as mx
    import mlx_lm
    from mlx_lm.tuner.utils import linear_to_lora_layers

    from ....backends.checkpoints import fetch

    malloc.keep()
    if sys.platform != "darwin" and not shutil.which("g++"):
        mx.disable_compile()  # MLX would call it
    model = mlx_lm.load(str(fetch(settings["model"])))[0]
    model.set_dtype(mx.float32)
    model.freeze()
    config = json.loads((folder / "adapter_config.json").read_text())
    linear_to_lora_layers(model, config["num_layers"], config["lora_parameters"])
    if (folder / "adapters.safetensors").is_file():
        model.load_weights(str(folder / "adapters.safetensors"), strict=False)
    mx.eval(model.parameters())
    return model


def unpadded(made: Iterator[Any]) -> Iterator[Any]:
    """mlx-lm's batches without the padding token that it trains on in each row, so that losses are comparable."""
    import mlx.core as mx

    for batch, spans in made:
        yield batch, spans - mx.array([0, 1])


def work(settings: Json, reply: Reply) -> None:
    """Trains {"steps": n} more steps in one call of mlx-lm's trainer, which waits between its batches."""
    import mlx.optimizers as optim
    from mlx_lm.tuner.callbacks import TrainingCallback
    from mlx_lm.tuner.trainer import TrainingArgs, iterate_batches, train

    folder = Path(settings["folder"])
    data = [tuple(example) for example in json.loads((folder / "examples.json").read_text())]
    model = load(settings, folder)
    optimizer = optim.Adam(settings["lr"], bias_correction=True)
    reports: list[Json] = []

    class Listen(TrainingCallback):
        def on_train_loss_report(self, train_info: Json) -> None:
            reports.append(train_info)

    def run(steps: int, report: int, batches: Callable[..., Iterator[Any]]) -> None:
        file = str(folder / "trained.safetensors")
        args = TrainingArgs(len(data), steps, steps_per_report=report, steps_per_save=FOREVER, adapter_file=file)
        train(model, optimizer, data, args=args, iterate_batches=batches, training_callback=Listen())

    tokens = sum(len(ids) - 1 for ids, _ in data)
    run(settings["compared"], 1, lambda *args, **named: unpadded(iterate_batches(*args, **named)))
    answer = {
        "losses": [report["train_loss"] for report in reports],
        "supervised": round(reports[-1]["trained_tokens"] / len(reports)),
    }

    def paced(*args: Any, **named: Any) -> Iterator[Any]:
        made = unpadded(iterate_batches(*args, **named))
        yield next(made)
        yield next(made)
        last = answer
        while True:
            steps = reply(last)["steps"]
            clock = Clock()
            for _ in range(steps):
                yield next(made)
            last = clock.answer(tokens=tokens * steps)

    run(FOREVER, 10, paced)


if __name__ == "__main__":
    serve(work)
