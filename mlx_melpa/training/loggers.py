"""Sending a run's numbers to TensorBoard or Weights & Biases."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ..errors import RecipeError

Kind = Literal["tensorboard", "wandb"]
MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb"}
LEFT_OUT = ("event", "iteration", "measure")


class Tracker:
    """Takes the events of `meta_train`; numbers get the names train/loss, validation/accuracy and the like.

    `start` opens the service at the first number, when the run's folder is there: it gives (write, close).
    """

    def __init__(self, start: Callable[[], tuple[Callable[[dict[str, float], int], None], Callable[[], None]]]):
        self._start = start
        self._write: Callable[[dict[str, float], int], None] | None = None
        self._close: Callable[[], None] = lambda: None

    def take(self, event: Mapping[str, Any]) -> None:
        """Sends one event's numbers; those that are not numbers are left out."""
        part = {"step": "train", "validation": "validation"}.get(event["event"])
        if part:
            if self._write is None:
                self._write, self._close = self._start()
            numbers = {k: v for k, v in event.items() if k not in LEFT_OUT and isinstance(v, int | float)}
            self._write({f"{part}/{name}": value for name, value in numbers.items()}, event["iteration"])

    def close(self) -> None:
        """Ends what `take` began."""
        self._close()


def tracker(kind: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """Readies a tracker for the run in `folder`; RecipeError for an unknown kind or a missing package."""
    if kind not in MODULES:
        raise RecipeError(f"--track {kind}: give {' or '.join(MODULES)}")
    try:
        module: Any = import_module(MODULES[kind])
    except ImportError:
        raise RecipeError(f"--track {kind} needs another package; run: pip install 'mlx-melpa[track]'") from None

    def wandb() -> Any:
        run = module.init(project="mlx-melpa", name=folder.name, config=dict(settings), dir=str(folder))
        return lambda numbers, at: run.log(numbers, step=at), run.finish

    def tensorboard() -> Any:
        writer = module.SummaryWriter(str(folder / "tensorboard"))

        def write(numbers: dict[str, float], at: int) -> None:
            for name, value in numbers.items():
                writer.add_scalar(name, value, at)

        return write, writer.close

    return Tracker(wandb if kind == "wandb" else tensorboard)
