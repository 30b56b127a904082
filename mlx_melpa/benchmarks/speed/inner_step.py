"""One adapter's steps, in tokens per second, beside mlx-lm's trainer"""

import tempfile
from pathlib import Path
from typing import Any

from ...errors import MelpaError
from .interleaved import Worker, alternate
from .settings import Advance, Settings

CASES: dict[str, dict[str, Any]] = {
    "all_tokens": {"layers": "all", "length": 64, "steps": 4, "at_least": 1.3},
    "completions": {"layers": "all", "length": 64, "steps": 4, "at_least": 1.3},
    "completions_natural": {"layers": "all", "length": 256, "steps": 4, "at_least": 2.0},
    "labels": {"layers": "upper half", "length": 128, "steps": 12, "at_least": 4.0},
}
"""Which layers, the limit of a text's tokens, the steps of one measurement, and the ratio that is wanted."""
COMMON = {"rank": 8, "scale": 2.0, "lr": 1e-4, "compared": 3}
EXAMPLES, CLOSE, PAID = 16, 1e-3, 10
"""Examples of a step; how far losses may be apart; the steps that our preparing is spread over, where it is counted."""


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Each case as ours, mlx-lm's and their ratio, in tokens read per second, padding not counted."""
    if "mlx-lm" not in settings.peers:
        return {}
    return {case: measure_case(case, settings, advance) for case in CASES}


def measure_case(case: str, settings: Settings, advance: Advance) -> dict[str, Any]:
    """One case; raises MelpaError where the two did not do the same work."""
    how = dict(CASES[case])
    wanted, steps = how.pop("at_least"), how.pop("steps")
    told = {**COMMON, **how, "case": case, "model": settings.model, "examples": EXAMPLES}
    if settings.short:
        told, steps = {**told, "examples": 2, "length": min(told["length"], 32)}, 1
    with tempfile.TemporaryDirectory() as folder:
        told["folder"] = str(Path(folder))
        advance(0, f"{case}: loading")
        with Worker("inner_step", told) as ours, Worker("inner_step_mlx_lm", told) as peer:
            apart = same(case, ours.about, peer.about)
            ratio = alternate(ours, peer, settings.pairs, order={"steps": steps}, advance=advance)
    tokens, preparing = ours.about["tokens"], ours.about["preparing"]
    paid = 1 / (1 / ratio.ours + preparing / (PAID * tokens))
    return ratio.record(
        "tokens/s",
        at_least=wanted,
        preparing_counted=paid / ratio.peer,
        examples=told["examples"],
        tokens=tokens,
        supervised=ours.about["supervised"],
        longest=ours.about["longest"],
        losses_apart=apart,
    )


def same(case: str, ours: dict[str, Any], peer: dict[str, Any]) -> float:
    """How far the losses of the first steps are apart; raises MelpaError where both did not do the same work."""
    apart = max(abs(a - b) for a, b in zip(ours["losses"], peer["losses"], strict=True))
    if not apart <= CLOSE or ours["supervised"] != peer["supervised"]:
        raise MelpaError(
            f"bench: step {case}: the two did not do the same work: supervised tokens {ours['supervised']} and "
            f"{peer['supervised']}, losses {ours['losses']} and {peer['losses']}; report this with the versions of "
            "mlx and mlx-lm"
        )
    return float(apart)


def draw(found: dict[str, Any], folder: Path) -> None:
    """Draws the ratios of all pairs, case by case, beside what is wanted, as FOLDER/step.png."""
    from ...evaluation.plots import plot_pairs

    plot_pairs(folder / "step.png", found, measure="tokens per second, ours over mlx-lm's")
