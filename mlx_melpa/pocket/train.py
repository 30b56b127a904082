"""The script that trains a base like the embedded one: python -m mlx_melpa.pocket.train --corpus DIR ... --out DIR."""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np

from ..core.atomic import replace
from ..errors import MelpaError
from . import corpus
from .evaluate import evaluate
from .fit import Plan, Size, Training


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mlx_melpa.pocket.train", description=__doc__)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True, help="folders with train and test .jsonl.gz")
    parser.add_argument("--out", type=Path, help="where the model goes; an unfinished run there is resumed")
    parser.add_argument("--evaluate", type=Path, metavar="MODEL", help="score this folder on the test parts, no more")
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after this long, if before --steps")
    parser.add_argument("--lr", type=float, default=Plan.lr)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default=Plan.dtype, help="of the products")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def prepare(folders: list[Path], out: Path, size: Size, seed: int) -> np.ndarray:
    """Trains the tokenizer on every third document and encodes the corpus, or reads both from an unfinished run."""
    ids = out / "training" / "ids.npy"
    if not ids.is_file():
        texts = corpus.documents(folders, "train")
        tokenizer = corpus.train_tokenizer(texts[::3], size.vocabulary)
        out.mkdir(parents=True, exist_ok=True)
        corpus.save_tokenizer(tokenizer, out, size.context)
        stream = corpus.stream(tokenizer, texts, seed)
        replace(ids, lambda partial: np.save(partial, stream))
    return np.load(ids)


def train(folders: list[Path], out: Path, size: Size, plan: Plan) -> None:
    """Trains a base into `out`, resuming an unfinished run with the same settings."""
    if (out / "model.safetensors").exists():
        raise MelpaError(f"{out} holds a finished model; choose another --out")
    if plan.steps < 1 or plan.lr <= 0 or plan.minutes < 0:
        raise MelpaError("--steps and --lr must be above 0, and --minutes not below it; correct the command")
    ids = prepare(folders, out, size, plan.seed)
    training, checkpoint = Training(size, plan), out / "training" / "checkpoint.safetensors"
    if checkpoint.is_file():
        training.resume(checkpoint)
    for progress in training.run(ids):
        training.save(checkpoint)
        sys.stderr.write(
            f"step {progress.step}  {progress.loss:.3f} nats per token  {progress.tokens_per_second:,.0f} tokens/s  "
            f"{progress.left / 60:.0f} min left\n"
        )
    training.write(out)
    shutil.rmtree(checkpoint.parent)


def main() -> None:
    """Runs the script; a mistake of the caller's ends in one line and exit code 1."""
    given = _arguments()
    try:
        if (given.out is None) == (given.evaluate is None):
            raise MelpaError("give either --out DIR to train or --evaluate MODEL to score")
        if given.out:
            plan = Plan(given.steps, given.minutes, lr=given.lr, dtype=given.dtype, seed=given.seed)
            train(given.corpus, given.out, Size(), plan)
        score = evaluate(given.out or given.evaluate, corpus.documents(given.corpus, "test"))
    except MelpaError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(
        f"{score.nats_per_token:.4f} nats per token, {score.bits_per_byte:.4f} bits per byte "
        f"({score.tokens} tokens, {score.size} bytes)\n"
    )


if __name__ == "__main__":
    main()
