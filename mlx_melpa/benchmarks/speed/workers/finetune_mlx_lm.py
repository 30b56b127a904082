"""A worker: mlx-lm's LoRA from scratch on one person's examples at a rate, its weights kept on the way"""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from time import perf_counter
from typing import Any

from ..interleaved import Reply, serve
from .inner_step_mlx_lm import FOREVER, load, unpadded  # first: it brings the BLAS


def work(settings: dict[str, Any], reply: Reply) -> None:
    """Trains {"lr", "steps", "every"} with mlx-lm's own trainer and settings, its batches of four among them.

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
        lasted: list[float] = []

        def timed(*args: Any, lasted: list[float] = lasted, **named: Any) -> Iterator[Any]:
            for batch in unpadded(iterate_batches(*args, **named)):
                began = perf_counter()
                yield batch
                lasted.append(perf_counter() - began)

        steps, every, out = order["steps"], order["every"], Path(mkdtemp(dir=folder))
        args = TrainingArgs(
            min(4, len(data)),
            steps,
            steps_per_report=FOREVER,
            steps_per_save=every,
            adapter_file=str(out / "last.safetensors"),
        )
        train(model, optim.Adam(order["lr"]), data, args=args, iterate_batches=timed)
        usual = median(lasted)
        lasted = [usual if k % every == 0 else seconds for k, seconds in enumerate(lasted, 1)]
        lasted += [usual] * (steps - len(lasted))  # the trainer asks for no batch after the last step
        marks = range(every, steps + 1, every)
        files = [str(out / f"{k:07d}_adapters.safetensors") for k in marks]
        order = reply({"seconds": [sum(lasted[:k]) for k in marks], "steps": list(marks), "files": files})
        model = load(settings, folder)


if __name__ == "__main__":
    serve(work)
