"""What can be counted about a task: its size, lengths, labels and words."""

from collections import Counter
from math import log

import numpy as np

from ...config.build import Setup
from ...core.types import Episode

FEATURES = ("log_size", "log_mean_length", "length_deviation", "label_entropy", "type_token_ratio")


def handcrafted(setup: Setup, episode: Episode) -> np.ndarray:
    """The numbers (5,) that FEATURES names, of a support set of at least one example.

    Lengths are in tokens of the base's tokenizer, with targets and dialogues included: the log of 1 + their mean, and
    their standard deviation divided by 1 + their mean. The label entropy is in nats, 0 without labels. The type-token
    ratio is distinct tokens over all.
    """
    texts = [setup.readout.encoder.ids("\n".join(example.texts)) for example in episode.support]
    lengths = np.array([len(ids) for ids in texts], np.float64)
    tokens = [token for ids in texts for token in ids]
    shares = np.array(list(Counter(example.label for example in episode.support).values())) / len(texts)
    return np.array(
        [
            log(len(texts)),
            log(1 + lengths.mean()),
            lengths.std() / (1 + lengths.mean()),
            -(shares * np.log(shares)).sum(),
            len(set(tokens)) / max(1, len(tokens)),
        ]
    )
