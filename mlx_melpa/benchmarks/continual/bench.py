"""A base with its adapter, on which continual methods learn streams."""

from functools import cached_property, partial

from ...config.build import Setup, compose
from ...core.types import Json
from ...errors import MelpaError
from ..study import Study
from .flop_counter import flop_counter
from .methods import KINDS
from .methods.method import EncodedTask, Initialization, Method, encode_task
from .scenarios import SCENARIOS
from .settings import Job, Settings
from .stream import StreamResult, learn_stream
from .tuning import Hyperparameters, tune


class Bench:
    """Learns streams with one adapter, or with one that has a block for each task (`block_per_task`)."""

    def __init__(self, settings: Settings, study: Study, block_per_task: bool):
        self.settings, self.study, self.block_per_task = settings, study, block_per_task
        self.encoded: dict[str, EncodedTask] = {}
        self.encoded_for: tuple[int, bool] = (0, False)

    @cached_property
    def setup(self) -> Setup:
        """The base with its adapter; raises MelpaError for a readout that does not fit the tasks or the scenario."""
        settings, run, recipe = self.settings, self.settings.run, self.settings.recipe
        if run:
            run.setup.model.detach()
        if self.block_per_task:
            adapter = dict(recipe.resolved["adapter"])
            adapter["rank"] = adapter.get("rank", 1) * len(settings.stream.groups)
            recipe = recipe.replace(adapter=adapter)
        recipe = recipe.with_readout("prototypes" if settings.stream.labelled else "completion")
        setup = compose(recipe, run.setup.base if run else None)
        try:
            check_readout(settings, setup)
        except MelpaError:
            setup.model.detach()
            raise
        return setup

    def close(self) -> None:
        """Takes the adapter off the base."""
        if "setup" in vars(self):
            self.setup.model.detach()

    def learn(self, job: Job) -> Json:
        """The result of one stream."""
        random, method = job.start == "random", KINDS[job.method]
        chosen = Hyperparameters(self.settings.rates[0], method.strength)
        if random:
            chosen = tune(method, self.settings.rates, partial(self.score, job.method))
        return learn_stream(
            self.method(job, chosen),
            [self.task(name, job.seed) for name in self.settings.stream.order(job.order)],
            chosen.lr if random else None,
            SCENARIOS[self.settings.scenario],
            self.settings.texts,
            self.study.advance,
        ).to_json()

    def score(self, name: str, tried: Hyperparameters) -> float:
        """The mean measure at the end of the tuning stream; higher is better."""

        def trial() -> Json:
            tasks = [self.task(one, 0, tuning=True) for one in self.settings.stream.order(0)]
            method = self.method(Job(name, "random", 0, 0), tried)
            return learn_stream(method, tasks, tried.lr, SCENARIOS[self.settings.scenario], texts=None).to_json()

        title = f"tuning {name}, rate {tried.lr:g}"
        kept = self.study.get_or(f"tuning/{name}.{tried.lr:g}.{tried.strength}", trial, title, weight=0)
        return self.settings.sign * float(StreamResult(**kept).matrix[-1].mean())

    def method(self, job: Job, chosen: Hyperparameters) -> Method:
        """Builds a job's method; a random start is drawn with the job's seed."""
        settings, run = self.settings, self.settings.run
        if run and job.start != "random":
            setup, theta = self.setup, run.theta
        else:
            setup = self.setup.random_start(chosen.lr)
            theta = setup.begin(job.seed)
        start = Initialization(setup, theta, flop_counter(setup))
        own: Json = {} if chosen.strength is None else {"strength": chosen.strength}
        own |= {"buffer": settings.buffer} if KINDS[job.method].stores_examples else {}
        return KINDS[job.method](start, steps=settings.steps, seed=job.seed, tasks=len(settings.stream.groups), **own)

    def task(self, name: str, seed: int, tuning: bool = False) -> EncodedTask:
        """A task of the stream, encoded once; those of one seed at a time are held."""
        if self.encoded_for != (seed, tuning):
            self.encoded, self.encoded_for = {}, (seed, tuning)
        if name not in self.encoded:
            self.encoded[name] = encode_task(self.setup.parts, self.settings.stream.task(name, seed, tuning))
        return self.encoded[name]


def check_readout(settings: Settings, setup: Setup) -> None:
    """Raises MelpaError for a readout that does not fit the stream's tasks or the scenario."""
    kind = setup.recipe.kind("readout")
    if setup.readout.classifies != settings.stream.labelled:
        tasks, other = ("labels", "prototypes") if settings.stream.labelled else ("texts", "completion")
        raise MelpaError(f"the tasks are {tasks}, and readout '{kind}' is not for them; add --set readout={other}")
    if settings.scenario != "class-incremental":
        return
    if kind in ("linear", "ridge"):
        raise MelpaError(f"--scenario class-incremental: a head of '{kind}' has one task's labels; take prototypes")
    if setup.recipe.settings("readout").get("words", "own") != "own":
        raise MelpaError(
            "--scenario class-incremental: letters stand for other labels in each task; add --set readout.words=own"
        )
