"""A worker: our inner steps on one user's examples, as `melpa adapt` takes them."""

import json
from pathlib import Path
from time import perf_counter
from typing import Any

from ....backends.mlx import ops  # first: it loads the BLAS that MLX then uses
from ....config.recipe import Recipe
from ....core.types import Json
from ..fixtures import recipe
from ..interleaved import Clock, Reply, serve
from ..texts import examples

START, EXAMPLES = "adapters.safetensors", "examples.json"


def case_recipe(settings: Json, layers: str | int) -> Recipe:
    """The recipe of a case."""
    changes = {
        "adapter": {"kind": "lora", "rank": settings["rank"], "scale": settings["scale"], "layers": layers},
        "readout.max_length": settings["length"],
        "rule": {"kind": "adam", "lr": settings["lr"]},
    }
    return recipe(settings["model"], changes)


def work(settings: Json, reply: Reply) -> None:
    """Adapts {"steps": n} steps from the start, each time anew.

    Writes to settings["folder"] what a peer needs to do the same: the start in mlx-lm's files, and the tokens.
    """
    from ....config.build import compose, load_base
    from ....core.inner_loop import adapt
    from ....core.types import Episode

    base = load_base(case_recipe(settings, "all"))
    half = settings["layers"] == "upper half"
    setup = compose(case_recipe(settings, (len(base.blocks) + 1) // 2 if half else "all"), base)
    parts, problem, readout = setup.parts, setup.parts.problem, setup.readout

    def count(text: str) -> int:
        return len(readout.encoder.ids(text))

    given = examples(settings["case"], settings["examples"], settings["length"], count)
    theta = setup.begin(0)
    encoded = [readout.tokens(example) for example in given]
    write_start(Path(settings["folder"]), setup, ops.numpy(theta["initializer"]["start"]), encoded)
    began = perf_counter()
    support = problem.support([Episode("", tuple(given), ())])
    ops.evaluate(support)
    preparing = perf_counter() - began
    tokens = sum(len(ids) - 1 for ids, _ in encoded)

    def watch(_: int, state: Any) -> None:
        losses.append(float(problem.measure(state["rows"], support, theta["problem"])["loss"][0]))

    losses: list[float] = []
    adapt(parts, theta, support, settings["compared"] - 1, watch=watch)
    adapt(parts, theta, support, 2)
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
        adapt(parts, theta, support, order["steps"])
        order = reply(clock.answer(tokens=tokens * order["steps"]))


def write_start(folder: Path, setup: Any, row: Any, encoded: list[Any]) -> None:
    """Writes the start in mlx-lm's names, and [[tokens, index of the first supervised one], ...]."""
    import mlx.core as mx

    from ....exports.common import metadata_of
    from ....exports.mlx_lm import CONFIG, config, tensors

    weights = {name: mx.array(value) for name, value in tensors(setup.model, row).items()}
    mx.save_safetensors(str(folder / START), weights)
    (folder / CONFIG).write_text(json.dumps(config(setup.model, metadata_of(setup.model))))
    (folder / EXAMPLES).write_text(json.dumps([[list(tokens), spans[0][0]] for tokens, spans in encoded]))


if __name__ == "__main__":
    serve(work)
