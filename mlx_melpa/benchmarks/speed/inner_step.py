"""Inner steps of one adapter, in tokens per second, compared with mlx-lm's trainer."""

import tempfile
from pathlib import Path

from ...core.progress import Advance
from ...core.types import Json
from ...errors import MelpaError
from .interleaved import Worker, interleave
from .settings import Settings

CASES: dict[str, Json] = {
    "all_tokens": {"layers": "all", "length": 64, "steps": 4, "at_least": 1.3},
    "completions": {"layers": "all", "length": 64, "steps": 4, "at_least": 1.3},
    "completions_natural": {"layers": "all", "length": 256, "steps": 4, "at_least": 2.0},
    "labels": {"layers": "upper half", "length": 128, "steps": 12, "at_least": 4.0},
}
"""Layers, largest number of tokens of a text, steps of one measurement, and the goal for the ratio."""
COMMON = {"rank": 8, "scale": 2.0, "lr": 1e-4, "compared": 3}
EXAMPLES, LOSS_TOLERANCE, PREPARED_STEPS = 16, 1e-3, 10
"""Examples of a step; largest difference of losses; steps over which `preparing_counted` spreads our preparing."""


def measure(settings: Settings, advance: Advance) -> Json:
    """Ours, mlx-lm's and their ratio in each case, in tokens read per second without padding."""
    if "mlx-lm" not in settings.peers:
        return {}
    return {case: measure_case(case, settings, advance) for case in CASES}


def measure_case(case: str, settings: Settings, advance: Advance) -> Json:
    """One case; raises MelpaError if the two did different work."""
    how = dict(CASES[case])
    at_least, steps = how.pop("at_least"), how.pop("steps")
    case_settings = {**COMMON, **how, "case": case, "model": settings.model, "examples": EXAMPLES}
    if settings.short:
        case_settings |= {"examples": 2, "length": min(case_settings["length"], 32)}
        steps = 1
    with tempfile.TemporaryDirectory() as folder:
        case_settings["folder"] = folder
        advance(0, f"{case}: loading")
        with Worker("inner_step", case_settings) as ours, Worker("inner_step_mlx_lm", case_settings) as peer:
            difference = loss_difference(case, ours.ready, peer.ready)
            ratio = interleave(ours, peer, settings.repeats, order={"steps": steps}, advance=advance)
    tokens, preparing = ours.ready["tokens"], ours.ready["preparing"]
    prepared = 1 / (1 / ratio.ours + preparing / (PREPARED_STEPS * tokens))
    return ratio.record(
        "tokens/s",
        at_least=at_least,
        preparing_counted=prepared / ratio.peer,
        examples=case_settings["examples"],
        tokens=tokens,
        supervised=ours.ready["supervised"],
        longest=ours.ready["longest"],
        losses_apart=difference,
    )


def loss_difference(case: str, ours: Json, peer: Json) -> float:
    """The largest difference of losses in the first steps; raises MelpaError if the two did different work."""
    largest = max(abs(a - b) for a, b in zip(ours["losses"], peer["losses"], strict=True))
    if not largest <= LOSS_TOLERANCE or ours["supervised"] != peer["supervised"]:
        raise MelpaError(
            f"bench: step {case}: the two did not do the same work: supervised tokens {ours['supervised']} and "
            f"{peer['supervised']}, losses {ours['losses']} and {peer['losses']}; report this with the versions of "
            "mlx and mlx-lm"
        )
    return float(largest)


def draw(result: Json, folder: Path) -> None:
    """Draws the ratios of all pairs by case, with the goals, as FOLDER/step.png."""
    from ...evaluation.plots import plot_pairs

    plot_pairs(folder / "step.png", result, measure="tokens per second, ours over mlx-lm's")
