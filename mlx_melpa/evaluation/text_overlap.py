"""BLEU and ROUGE-L, from 0 to 1, of generated text against the user's own words.

Text is generated greedily, after a question as the readout puts it, a dialogue's last turn, or the first half of a
line. BLEU is that of a sentence (Papineni et al. 2002), by sacrebleu with effective order; ROUGE-L is its F1 (Lin
2004), by rouge-score.
"""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np

from ..config.build import Setup, part_of
from ..core import inner_loop
from ..core.types import Episode, Example, Tree
from ..data.prompts import prompt_tokens
from ..errors import MelpaError
from ..readouts.completion import Completion
from ..readouts.labels import Labels
from .baselines.in_context import InContext

Writer = Labels | Completion
NAMES = ("bleu", "rouge_l")
Overlaps = dict[str, list[float]]
"""By measure the values of all tasks."""


def check_packages() -> None:
    """Raises MelpaError if a package that measures is not installed."""
    if not (find_spec("sacrebleu") and find_spec("rouge_score")):
        raise MelpaError("BLEU and ROUGE-L need sacrebleu and rouge-score; install them: pip install 'mlx-melpa[text]'")


def adapted(setup: Setup, theta: Tree, drawn: Sequence[Episode], steps: int) -> Overlaps:
    """The overlaps of one text for each task, after `steps` inner steps on its support."""
    parts, found = setup.parts, []
    for episode in drawn:
        state = inner_loop.adapt(parts, theta, parts.problem.support([episode]), steps)
        example = episode.query[0]
        acting = parts.ops.numpy(parts.problem.acting(state["rows"], theta["problem"]))
        written, wanted = write(setup, acting[:, : setup.model.layout.size], example, example, setup.readout)
        found.append(scores(written, wanted))
    return {name: [one[name] for one in found] for name in NAMES}


def means(found: Overlaps) -> dict[str, float]:
    """The mean over tasks."""
    return {name: float(np.mean(values)) for name, values in found.items()}


def in_context(context: InContext, drawn: Sequence[Episode], count: int) -> Overlaps:
    """The same for the base, which reads `count` of the support's texts first."""
    found = []
    for episode in drawn:
        shown = context.with_texts(episode, count).query[0]
        found.append(scores(*write(context.setup, None, shown, episode.query[0], context.head)))
    return {name: [one[name] for one in found] for name in NAMES}


def write(setup: Setup, rows: np.ndarray | None, shown: Example, example: Example, head: Writer) -> tuple[str, str]:
    """The text that rows (1, P), or the base if None, write after `shown`, and the example's own.

    The text has at most half of the tokens of the readout's texts.
    """
    most = max(1, setup.readout.encoder.max_length // 2)
    tokens, wanted = opening(head, shown, example, head.encoder.max_length - most)
    engine = part_of(setup.recipe.backend, "generate")
    pieces = engine.write(setup.model, rows, tokens, max_tokens=most, temp=0.0, seed=0)
    return "".join(pieces), wanted


def opening(head: Writer, shown: Example, example: Example, room: int) -> tuple[list[int], str]:
    """The tokens of the prompt, cut at their beginning, and the text that an example has after them."""
    encoder, first = head.encoder, list(head.encoder.first)
    if example.messages:
        last = max(i for i, (role, _) in enumerate(example.messages) if role == "assistant")
        turns = example.messages[:last]
        tokens = prompt_tokens(head, encoder.tokenizer, "messages", turns) if turns else first or [encoder.pad]
        return tokens[-room:], example.messages[last][1]
    begun, wanted = ("", example.target or "") if example.text else halves(example.target or "")
    before = head.template.format(text=shown.text) if shown.text else ""
    tokens = [*encoder.ids(before), *encoder.ids(begun)]
    return [*first, *tokens[-(room - len(first)) :]] or [encoder.pad], wanted


def halves(text: str) -> tuple[str, str]:
    """A text cut after half of its words; a single word is not cut."""
    ends = [word.end() for word in re.finditer(r"\S+", text)]
    middle = ends[len(ends) // 2 - 1] if len(ends) > 1 else 0
    return text[:middle], text[middle:]


def words(text: str) -> list[str]:
    """The words of a text in lower case, in any script: rouge-score's own takes a to z and digits alone."""
    return re.findall(r"[^\W_]+", text.lower())


def scores(written: str, wanted: str) -> dict[str, float]:
    """BLEU and ROUGE-L of one text."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import BLEU

    bleu = BLEU(effective_order=True).sentence_score(written.strip(), [wanted.strip()]).score / 100
    rouge = RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=words)).score(wanted, written)["rougeL"].fmeasure
    return {"bleu": float(bleu), "rouge_l": float(rouge)}
