"""Sending a run's numbers to TensorBoard or Weights & Biases."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from .errors import RecipeError

Kind = Literal["tensorboard", "wandb"]
MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb"}
LEFT_OUT = ("event", "iteration", "measure")


class Tracker:
    """Takes the events of `meta_train`; numbers get the names train/loss, validation/accuracy and the like."""

    def __init__(self, write: Callable[[dict[str, float], int], None], close: Callable[[], None]):
        self._write, self.close = write, close

    def take(self, event: Mapping[str, Any]) -> None:
        """Sends one event's numbers; those that are not numbers are left out."""
        part = {"step": "train", "validation": "validation"}.get(event["event"])
        if part:
            numbers = {k: v for k, v in event.items() if k not in LEFT_OUT and isinstance(v, int | float)}
            self._write({f"{part}/{name}": value for name, value in numbers.items()}, event["iteration"])


def tracker(kind: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """Opens a tracker for the run in `folder`; raises RecipeError where its package is missing, or the kind unknown."""
    if kind not in MODULES:
        raise RecipeError(f"--track {kind}: give {' or '.join(MODULES)}")
    try:
        module: Any = import_module(MODULES[kind])
    except ImportError:
        raise RecipeError(f"--track {kind} needs another package; run: pip install 'mlx-melpa[track]'") from None
    if kind == "wandb":
        run = module.init(project="mlx-melpa", name=folder.name, config=dict(settings), dir=str(folder), resume="allow")
        return Tracker(lambda numbers, at: run.log(numbers, step=at), run.finish)
    writer = module.SummaryWriter(str(folder / "tensorboard"))

    def write(numbers: dict[str, float], at: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, at)

    return Tracker(write, writer.close)
