"""A worker: mlx-lm's LoRA from scratch on one user's examples; saves its weights at marks."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from time import perf_counter
from typing import Any

from ....core.types import Json
from ..interleaved import Reply, serve
from .inner_step_mlx_lm import FOREVER, load, unpadded  # first: it loads the BLAS


def work(settings: Json, reply: Reply) -> None:
    """Trains {"lr", "steps", "every"} with mlx-lm's own trainer and settings, in batches of four.

    Answers {"seconds": [of training up to each mark], "files": [the weights there]}; saving is not counted.
    """
    import mlx.core as mx
    import mlx.optimizers as optim
    from mlx_lm.tuner.trainer import TrainingArgs, iterate_batches, train

    folder = Path(settings["folder"])
    data = [tuple(example) for example in json.loads((folder / "examples.json").read_text())]
    model = load(settings, folder)
    order = reply({})
    while True:
        mx.random.seed(0)
        durations: list[float] = []

        def timed(*args: Any, durations: list[float] = durations, **named: Any) -> Iterator[Any]:
            for batch in unpadded(iterate_batches(*args, **named)):
                began = perf_counter()
                yield batch
                durations.append(perf_counter() - began)

        steps, every, out = order["steps"], order["every"], Path(mkdtemp(dir=folder))
        args = TrainingArgs(
            min(4, len(data)),
            steps,
            steps_per_report=FOREVER,
            steps_per_save=every,
            adapter_file=str(out / "last.safetensors"),
        )
        train(model, optim.Adam(order["lr"]), data, args=args, iterate_batches=timed)
        typical = median(durations)
        durations = [typical if k % every == 0 else seconds for k, seconds in enumerate(durations, 1)]
        durations += [typical] * (steps - len(durations))  # the trainer asks for no batch after the last step
        marks = range(every, steps + 1, every)
        files = [str(out / f"{k:07d}_adapters.safetensors") for k in marks]
        order = reply({"seconds": [sum(durations[:k]) for k in marks], "steps": list(marks), "files": files})
        model = load(settings, folder)


if __name__ == "__main__":
    serve(work)
