"""A worker: our inner steps on one person's examples, as `melpa adapt` takes them"""

import json
from pathlib import Path
from time import perf_counter
from typing import Any

from ....backends.mlx import ops  # first: it brings the BLAS that MLX then takes
from ..interleaved import Clock, Reply, serve
from ..texts import examples

START, EXAMPLES = "adapters.safetensors", "examples.json"


def recipe(settings: dict[str, Any]) -> dict[str, Any]:
    """The adapter, the readout and the rule of a case, as a recipe."""
    layers = settings["layers"]
    return {
        "model": settings["model"],
        "adapter": {"kind": "lora", "rank": settings["rank"], "scale": settings["scale"], "layers": layers},
        "tasks": {"kind": "synthetic"},
        "readout": {"kind": "completion", "max_length": settings["length"]},
        "rule": {"kind": "adam", "lr": settings["lr"]},
        "learner": {"kind": "fomaml", "steps": 1},
    }


def work(settings: dict[str, Any], reply: Reply) -> None:
    """Adapts {"steps": n} steps from the start, each time anew.

    Leaves in settings["folder"] what a peer needs to do the same: the start in mlx-lm's files, and the tokens.
    """
    from ....config.build import compose, load_base
    from ....config.recipe import recipe_of
    from ....core import inner_loop as adapt
    from ....core.types import Episode

    tree = recipe(settings)
    base = load_base(recipe_of({**tree, "adapter": {**tree["adapter"], "layers": "all"}}, "bench"))
    if tree["adapter"]["layers"] == "upper half":
        tree["adapter"]["layers"] = (len(base.blocks) + 1) // 2
    composed = compose(recipe_of(tree, "bench"), base)
    parts, problem, readout = composed.parts, composed.parts.problem, composed.readout
    count = lambda text: len(readout.encoder.ids(text))  # noqa: E731
    given = examples(settings["case"], settings["examples"], settings["length"], count)
    theta = composed.begin(0)
    encoded = [readout.tokens(example) for example in given]
    leave(Path(settings["folder"]), composed, ops.numpy(theta["initializer"]["start"]), encoded)
    began = perf_counter()
    support = problem.support([Episode("", tuple(given), ())])
    ops.evaluate(support)
    preparing = perf_counter() - began
    tokens = sum(len(ids) - 1 for ids, _ in encoded)

    def watch(_: int, state: Any) -> None:
        losses.append(float(problem.measure(state["rows"], support)["loss"][0]))

    losses: list[float] = []
    adapt.adapt(parts, theta, support, settings["compared"] - 1, watch=watch)
    adapt.adapt(parts, theta, support, 2)
    order = reply(
        {
            "losses": losses,
            "tokens": tokens,
            "supervised": sum(b - a for _, spans in encoded for a, b in spans),
            "longest": max(len(ids) for ids, _ in encoded),
            "preparing": preparing,
        }
    )
    while True:
        clock = Clock()
        adapt.adapt(parts, theta, support, order["steps"])
        order = reply(clock.answer(tokens=tokens * order["steps"]))


def leave(folder: Path, composed: Any, row: Any, encoded: list[Any]) -> None:
    """Writes the start as mlx-lm names it, and [[tokens, where the supervised ones begin], ...]."""
    import mlx.core as mx

    from ....exports.common import metadata_of
    from ....exports.mlx_lm import CONFIG, config, tensors

    weights = {name: mx.array(value) for name, value in tensors(composed.model, row).items()}
    mx.save_safetensors(str(folder / START), weights)
    (folder / CONFIG).write_text(json.dumps(config(composed.model, metadata_of(composed.model))))
    (folder / EXAMPLES).write_text(json.dumps([[list(tokens), spans[0][0]] for tokens, spans in encoded]))


if __name__ == "__main__":
    serve(work)
