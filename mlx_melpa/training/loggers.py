"""Sending a run's metrics to TensorBoard or Weights & Biases."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..config.yaml_document import Value
from ..errors import RecipeError

MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb"}
PARTS = {"step": "train", "validation": "validation"}
NO_METRICS = ("event", "iteration", "measure")
Service = tuple[Callable[[dict[str, float], int], None], Callable[[], None]]
"""(write metrics at an iteration, close)."""


class Logger:
    """Logs the events of `meta_train`, under the names train/loss, validation/accuracy and the like.

    `start` opens the service at the first event that has metrics: the run's folder exists by then.
    """

    def __init__(self, start: Callable[[], Service]):
        self._start = start
        self._service: Service | None = None

    def log(self, event: Mapping[str, Value]) -> None:
        """Sends the metrics of one event."""
        part = PARTS.get(event["event"])
        if part is None:
            return
        if self._service is None:
            self._service = self._start()
        metrics = {k: v for k, v in event.items() if k not in NO_METRICS and isinstance(v, int | float)}
        self._service[0]({f"{part}/{name}": value for name, value in metrics.items()}, event["iteration"])

    def close(self) -> None:
        """Closes the service, if it was opened."""
        if self._service is not None:
            self._service[1]()


def logger(kind: str, folder: Path, settings: Mapping[str, Value]) -> Logger:
    """Makes a logger for the run in `folder`; raises RecipeError for an unknown kind or a missing package."""
    if kind not in MODULES:
        raise RecipeError(f"--logger {kind}: give {' or '.join(MODULES)}")
    try:
        module: Any = import_module(MODULES[kind])
    except ImportError:
        raise RecipeError(f"--logger {kind} needs another package; run: pip install 'mlx-melpa[track]'") from None

    def wandb() -> Service:
        run = module.init(project="mlx-melpa", name=folder.name, config=dict(settings), dir=str(folder))
        return lambda metrics, iteration: run.log(metrics, step=iteration), run.finish

    def tensorboard() -> Service:
        writer = module.SummaryWriter(str(folder / "tensorboard"))

        def write(metrics: dict[str, float], iteration: int) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, iteration)

        return write, writer.close

    return Logger(wandb if kind == "wandb" else tensorboard)
