"""A worker that meta-trains as `melpa meta-train` does, one outer step an order: seconds, loss, memory"""

import time
from itertools import count
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ..fixtures import recipe
from ..interleaved import Reply, serve


def work(settings: dict[str, Any], reply: Reply) -> None:
    """Settings: those of `work.recipe`, and `folder` (or none) for the start and the first meta-gradient, by name.

    The first answer holds the first iteration's query loss; memory is the engine's at its peak and the process's, in
    bytes.
    """
    from ....config.build import compose
    from ....training.outer_loop import OuterLoop

    folder = settings.pop("folder", None)
    wanted = recipe(**settings)
    composed = compose(wanted)
    ops = composed.parts.ops
    loop = OuterLoop(wanted, composed, wanted.make("tasks"))
    drawn = loop.draw(0)
    losses, gradient, _ = loop.meta_gradient(composed.learner, drawn)
    if folder:
        named = {"start": loop.theta, "gradient": ops.map_tree(lambda g: g / len(drawn), gradient)}
        for what, tree in named.items():
            row = ops.numpy(tree["initializer"]["start"]).reshape(-1)
            save_file(composed.layout.views(row), f"{folder}/{what}.safetensors")
    del gradient
    answer: dict[str, Any] = {"loss": float(np.mean(losses))}
    answer |= {"parameters": composed.layout.size, "base_bytes": base_bytes(composed.base)}
    for iteration in count():
        reply(answer)
        ops.reset_peak_memory()
        began = time.perf_counter()
        event = loop.step(iteration)
        answer = {"seconds": time.perf_counter() - began, "loss": event["loss"], "count": 1}
        answer |= {"memory": ops.peak_memory(), "resident": resident()}


def base_bytes(base: Any) -> int:
    """Bytes of the base's weights as they lie in memory."""
    found = base.model.parameters()
    if isinstance(found, dict):
        from ....backends.mlx import ops

        found = [value for _, value in ops.flatten(found)]
    return sum(value.nbytes for value in found)


def resident() -> int:
    """The most bytes that this process has had in memory."""
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


if __name__ == "__main__":
    serve(work)
