"""A worker that meta-trains as `melpa meta-train` does, one outer step per order: seconds, loss, memory."""

import time
from itertools import count
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ....core.types import Json
from ..fixtures import recipe
from ..interleaved import Reply, serve


def work(settings: Json, reply: Reply) -> None:
    """Settings: `model` and `changes` of the recipe, `folder` (or none) for the start and the first meta-gradient.

    The first answer has the first iteration's query loss. memory, resident: the engine's and the process's peak, bytes.
    """
    from ....config.build import compose
    from ....training.outer_loop import OuterLoop

    folder, made = settings.get("folder"), recipe(settings["model"], settings["changes"])
    setup = compose(made)
    ops = setup.parts.ops
    loop = OuterLoop(made, setup, made.make("tasks"))
    drawn = loop.draw(0)
    losses, gradient, _ = loop.meta_gradient(setup.learner, drawn)
    if folder:
        named = {"start": loop.theta, "gradient": ops.map_tree(lambda g: g / len(drawn), gradient)}
        for what, tree in named.items():
            weights = setup.layout.views(ops.numpy(tree["initializer"]["start"]))
            if "shared" in tree["problem"]:
                weights |= setup.problem.acting_layout.shared.views(ops.numpy(tree["problem"]["shared"]))
            save_file(weights, f"{folder}/{what}.safetensors")
    del gradient
    answer: Json = {"loss": float(np.mean(losses))}
    answer |= {"parameters": setup.layout.size, "steps": setup.learner.steps, "tasks": made.train.tasks_per_step}
    answer |= {"base_bytes": base_bytes(setup.base)}
    for iteration in count():
        reply(answer)
        ops.reset_peak_memory()
        began = time.perf_counter()
        event = loop.step(iteration)
        answer = {"seconds": time.perf_counter() - began, "loss": event["loss"], "count": 1}
        answer |= {"memory": ops.peak_memory(), "resident": resident()}


def base_bytes(base: Any) -> int:
    """Bytes of the base's weights in memory."""
    weights = base.model.parameters()
    if isinstance(weights, dict):
        from ....backends.mlx import ops

        weights = [value for _, value in ops.flatten(weights)]
    return sum(value.nbytes for value in weights)


def resident() -> int:
    """The peak resident memory of this process, bytes."""
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


if __name__ == "__main__":
    serve(work)
