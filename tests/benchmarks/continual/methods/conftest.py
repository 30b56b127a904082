"""What the tests of continual methods share: three small tasks, two readouts, and how a method is built."""

from collections.abc import Callable, Iterator

import pytest

from mlx_melpa.benchmarks.continual.methods import KINDS
from mlx_melpa.benchmarks.continual.methods.method import EncodedTask, Initialization, Method, encode_task
from mlx_melpa.benchmarks.continual.tasks import Stream, stream_of_records
from mlx_melpa.config.build import Setup, compose
from mlx_melpa.config.recipe import check
from mlx_melpa.config.yaml_document import Document
from mlx_melpa.core.types import Example
from mlx_melpa.data.readers import Record

WORDS = {
    "pets": {"cat": "the cat sleeps", "dog": "a dog barks"},
    "food": {"sweet": "cake and honey", "salty": "chips and olives"},
    "sky": {"day": "the sun shines", "night": "the moon is up"},
}
RECIPE = """
model: {model}
adapter: {{kind: lora, rank: 3, layers: 1, sites: [q_proj, v_proj]}}
tasks: {{kind: jsonl, train: none.jsonl}}
readout: {readout}
rule: {{kind: adam, lr: 0.01}}
learner: {{kind: fomaml, steps: 1}}
"""


@pytest.fixture(scope="module")
def stream() -> Stream:
    records = [
        Record(Example(f"{text} {number}", label=label), group)
        for group, labels in WORDS.items()
        for label, text in labels.items()
        for number in range(12)
    ]
    return stream_of_records(records, shots=4, queries=4)


def built_on(model: str, readout: str) -> Setup:
    return compose(check(Document("test", RECIPE.format(model=model, readout=readout)), "test"))


@pytest.fixture(scope="module", params=["prototypes", "labels"])
def setup(request: pytest.FixtureRequest, shared: object) -> Iterator[Setup]:
    found = built_on(f"{shared}/models/stories260k", request.param)
    yield found
    found.model.detach()


@pytest.fixture(scope="module")
def encoded(setup: Setup, stream: Stream) -> list[EncodedTask]:
    return [encode_task(setup.parts, stream.task(name, 0)) for name in stream.order(0)]


@pytest.fixture(scope="module")
def built(setup: Setup) -> Callable[..., Method]:
    """Builds a method by its name, from a random start with Adam: two steps a task, three stored examples a task."""

    def make(name: str, **settings: float) -> Method:
        baseline, stores = setup.random_start(0.01), KINDS[name].stores_examples
        settings = {"buffer": 3} | settings if stores else settings
        return KINDS[name](Initialization(baseline, baseline.begin(0)), steps=2, seed=0, tasks=3, **settings)

    return make
