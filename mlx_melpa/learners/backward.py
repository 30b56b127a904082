"""The forward pass that keeps its states, and the reverse pass along them: the meta-gradient of the unrolled loop.

    forward   state_0 ... state_K, evaluated after every step, with their inner gradients
    outer     sum over k of  sum over terms (w, query) of state k  w loss(rows_k, query)
    back      c = gradient of the terms of state_K;   for k = K-1 ... 0:
              (c, d) = step_vjp(k, state_k, c);  dtheta += d;  c += gradient of the terms of state_k
    begin     c through the initializer

Most learners have one term, of weight 1 at the end; terms at earlier steps are MAML++'s multi-step loss. A stream is a
list of stages, one for each task: rows go on from the end of the stage before, the states of rule and regularizer begin
anew (as `inner_loop.resume` has it), and the terms at the end of a stage cover the tasks so far. Memory is that of one
step plus the K rows of all stages, however many steps and terms there are.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..core import inner_loop
from ..core.protocols import Components
from ..core.types import Array, Batch, State, Tree
from .task_memories import TaskMemories


class QueryTerm(NamedTuple):
    """One weighted query loss of the outer objective; a weight of 0 costs nothing.

    `task` is the index of an earlier stage whose stored class means replace its support set: see `TaskMemories`.
    """

    weight: float
    query: Batch
    task: int | None = None


class Stage(NamedTuple):
    """The K steps on one support set, and the outer loss along them: K + 1 lists of terms, for states 0 ... K."""

    support: Batch
    terms: Sequence[Sequence[QueryTerm]]

    @property
    def steps(self) -> int:
        """The number of inner steps, K."""
        return len(self.terms) - 1


class Trajectory(NamedTuple):
    """States 0..K of T tasks, and inner gradients 0..K-1."""

    states: list[State]
    grads: list[Array]


StepVjp = Callable[[Stage, int, State, Array, State], tuple[State, Tree]]
"""A learner's reverse of step k: (stage, k, state, inner gradient, cotangent of the next state) gives the cotangents of
the state and of the parts of theta that it reads."""


def forward(parts: Components, theta: Tree, support: Batch, steps: int, state: State | None = None) -> Trajectory:
    """Runs the inner steps of T tasks, from the initializer or from a state, and keeps all states."""
    kept = Trajectory([inner_loop.begin(parts, theta, support) if state is None else state], [])
    for k in range(steps):
        kept.grads.append(inner_loop.gradient(parts, theta, kept.states[-1], support))
        kept.states.append(inner_loop.move(parts, theta, k, kept.states[-1], kept.grads[-1]))
        parts.ops.evaluate(kept.states[-1], kept.grads[-1])
    return kept


def query_gradient(
    parts: Components, rows: Array, query: Batch, shared: Tree, weight: float = 1.0
) -> tuple[Array, tuple[Array, Tree]]:
    """Weighted query losses (T,), and their gradients over rows (T, P) and over what is shared."""

    def loss(at: tuple[Array, Tree]) -> tuple[Array, Array]:
        losses = weight * parts.problem.losses(at[0], query, at[1])
        return losses.sum(), losses

    _, losses, grads = parts.ops.value_and_grad(loss, (rows, shared))
    return losses, grads


def initializer_vjp(parts: Components, theta: Tree, support: Batch, cotangent: State) -> Tree:
    """The cotangent of the first state, pulled back to theta's initializer and problem."""
    read = {name: theta[name] for name in ("initializer", "problem")}
    return parts.ops.vjp(lambda read: inner_loop.begin(parts, {**theta, **read}, support), read, cotangent)


def exact(parts: Components, theta: Tree) -> StepVjp:
    """The reverse of a whole step, its inner gradient included: second derivatives."""

    read = {name: theta[name] for name in ("problem", "rule", "regularizer")}

    def step_vjp(stage: Stage, k: int, state: State, grads: Array, cotangent: State) -> tuple[State, Tree]:
        def step(at: tuple[State, Tree]) -> State:
            return inner_loop.step(parts, at[1], k, at[0], stage.support)

        return parts.ops.vjp(step, (state, read), cotangent)

    return step_vjp


def first_order(parts: Components, theta: Tree) -> StepVjp:
    """The reverse of a step whose inner gradient is held constant."""

    read = {"rule": theta["rule"]}

    def step_vjp(stage: Stage, k: int, state: State, grads: Array, cotangent: State) -> tuple[State, Tree]:
        def step(at: tuple[State, Tree]) -> State:
            return inner_loop.move(parts, at[1], k, at[0], grads)

        return parts.ops.vjp(step, (state, read), cotangent)

    return step_vjp


class Backward:
    """The reverse pass: losses (T,), the cotangent of the state at hand, and the gradient over theta so far."""

    def __init__(self, parts: Components, theta: Tree, memories: TaskMemories | None):
        self.parts, self.theta, self.memories = parts, theta, memories
        self.losses: Array | None = None
        self.cotangent: State | None = None
        self.dtheta: dict[str, Tree] = {}

    def through(self, number: int, stage: Stage, kept: Trajectory, step_vjp: StepVjp) -> None:
        """Goes back over a stage, from the cotangent of the next stage's first state to that of its own."""
        ops, states, grads = self.parts.ops, kept.states, kept.grads
        if self.cotangent is not None:
            rows = ops.vjp(lambda rows: inner_loop.resume(self.parts, rows), states[-1]["rows"], self.cotangent)
            self.cotangent = {**ops.zeros_like(states[-1]), "rows": rows}
        for k in reversed(range(stage.steps + 1)):
            if k < stage.steps:
                self.cotangent, of_theta = step_vjp(stage, k, states[k], grads.pop(), self.cotangent)
                self._add_to_theta(of_theta)
                ops.evaluate(self.cotangent, self.dtheta)
            state = states.pop()
            for term in stage.terms[k]:
                if term.weight:
                    self._add_term(state, term)
            if self.memories is not None and self.cotangent is not None and k == stage.steps:
                self._add(state, *self.memories.vjp(number))

    def _add_term(self, state: State, term: QueryTerm) -> None:
        if self.cotangent is not None:  # nothing pends when a query's own graph begins
            self.parts.ops.evaluate(self.losses, self.cotangent, self.dtheta)
        if self.memories is not None and term.task is not None:
            losses, grads = self.memories.query_gradient(state["rows"], term.weight, term.query, term.task)
        else:
            losses, grads = query_gradient(self.parts, state["rows"], term.query, self.theta["problem"], term.weight)
        self.losses = losses if self.losses is None else self.losses + losses
        self._add(state, *grads)

    def _add(self, state: State, rows: Array, shared: Tree) -> None:
        """Adds a gradient over a state's rows and over what is shared."""
        ops = self.parts.ops
        self._add_to_theta({"problem": shared})
        more = {**ops.zeros_like(state), "rows": rows}
        self.cotangent = more if self.cotangent is None else ops.add(self.cotangent, more)

    def _add_to_theta(self, gradient: Tree) -> None:
        """Adds a gradient over some parts of theta."""
        for name, part in gradient.items():
            self.dtheta[name] = self.parts.ops.add(self.dtheta[name], part) if name in self.dtheta else part

    def at_start(self, support: Batch) -> tuple[Array, Tree]:
        """The outer losses (T,) and the gradient of their sum over theta."""
        ops = self.parts.ops
        self._add_to_theta(initializer_vjp(self.parts, self.theta, support, self.cotangent))
        gradient = {
            name: self.dtheta[name] if name in self.dtheta else ops.zeros_like(part)
            for name, part in self.theta.items()
        }
        ops.evaluate(self.losses, gradient)
        return self.losses, gradient


def backward(parts: Components, theta: Tree, stages: Sequence[Stage], step_vjp: StepVjp) -> tuple[Array, Tree]:
    """The outer losses (T,), weighted sums of query losses, and the gradient of their sum over theta.

    Every stage has the same T tasks as rows. Raises ValueError where the last state has no term.
    """
    if not any(term.weight for term in stages[-1].terms[-1]):
        raise ValueError("the outer loss needs a term after the last step; leave out the steps after its last one")
    kept = [forward(parts, theta, stages[0].support, stages[0].steps)]
    for stage in stages[1:]:
        onward = inner_loop.resume(parts, kept[-1].states[-1]["rows"])
        kept.append(forward(parts, theta, stage.support, stage.steps, onward))
    memories = None
    if any(term.task is not None for stage in stages for terms in stage.terms for term in terms):
        ends = [trajectory.states[-1]["rows"] for trajectory in kept]
        memories = TaskMemories(parts, theta["problem"], [stage.support for stage in stages], ends)
    reverse = Backward(parts, theta, memories)
    for number, stage in reversed(list(enumerate(stages))):
        reverse.through(number, stage, kept.pop(), step_vjp)
    return reverse.at_start(stages[0].support)
