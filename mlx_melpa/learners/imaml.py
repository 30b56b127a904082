"""Implicit MAML: the meta-gradient at the solution of the inner problem, whatever steps led there.

inner   rows = argmin of  loss(rows) + penalty(rows, start)  in a row's own numbers, by the rule's steps
at it   A c = query gradient,  A the Hessian of both, by conjugate gradients
back    theta gets  -(d inner gradient / d theta)' c  at a constant solution, and the query's own gradient over theta

With `regularizer: l2`, the paper's lambda / 2 |rows - start|^2, A = H + lambda and the start gets lambda c: that is
(I + H / lambda)^-1 times the query gradient, with the loss's Hessian H. The gradient does not depend on the
steps: it can't train a learned rule, and it takes the memory of one step. It is exact if the inner problem is solved.
"""

from collections.abc import Callable, Mapping
from functools import partial
from logging import getLogger
from typing import Annotated

import numpy as np

from ..core import inner_loop
from ..core.bases import Settings
from ..core.bounds import Bounds, Count, Positive
from ..core.protocols import Components, Learner, Regularizer
from ..core.types import Array, Batch, Tree
from ..errors import RecipeError
from .backward import query_gradient
from .conjugate_gradients import Solution, solve, solve_exactly

warn = getLogger(__name__).warning


NEEDS = "learner 'imaml' needs what pulls rows to their start; set regularizer: {kind: l2, strength: 1}"


class Imaml(Learner):
    """The implicit gradient by at most `cg_steps` conjugate gradients."""

    trains = frozenset({"initializer", "problem", "regularizer"})
    precision = 1e-4
    verify_with = ({"cg_steps": 60, "tolerance": 1e-6},)

    def __init__(self, parts: Components, steps: int, cg_steps: int, tolerance: float):
        self.parts, self.steps, self.cg_steps, self.tolerance = parts, steps, cg_steps, tolerance
        self._numbers: dict[str, float] = {}
        self._warned = False

    @staticmethod
    def lacks(regularizer: type[Regularizer], settings: Settings) -> str:
        """It needs a pull of every number to its start, which `ewc` has by its prior."""
        return "" if regularizer.holds and settings.get("prior", 1) else NEEDS

    def numbers(self) -> Mapping[str, float]:
        """Numbers since the last call, for a run's metrics.

        cg_residual (|rest| / |query gradient|) and inner_gradient (its norm where the steps ended) of the worst task;
        negative_curvature, the tasks that had it.
        """
        found, self._numbers = self._numbers, {}
        return found

    def meta_grad(self, theta: Tree, support: Batch, query: Batch) -> tuple[Array, Tree]:
        """Query losses (T,) and the implicit gradient of their sum."""
        parts, ops = self.parts, self.parts.ops
        state = inner_loop.adapt(parts, theta, support, self.steps)
        losses, (of_rows, of_shared) = query_gradient(parts, state["rows"], query, theta["problem"])
        ops.evaluate(losses, of_rows, of_shared)

        def inner(rows: Array) -> Array:
            return inner_loop.gradient(parts, theta, {**state, "rows": rows}, support)

        found = solve(ops, lambda v: ops.vjp(inner, state["rows"], v), of_rows, self.cg_steps, self.tolerance)
        left = inner(state["rows"])
        self._note(found, ops.numpy((left * left).sum(-1)))

        def at_solution(theta: Tree) -> Array:
            begun = inner_loop.begin(parts, theta, support)
            return inner_loop.gradient(parts, theta, {**begun, "rows": state["rows"]}, support)

        gradient = ops.vjp(at_solution, theta, -found.x)
        gradient = {**gradient, "problem": ops.add(gradient["problem"], of_shared)}
        ops.evaluate(gradient)
        return losses, gradient

    def definition(self, theta: Tree, support: Batch, query: Batch) -> Callable[[Tree], Array]:
        """query loss - c . inner gradient, at the rows where the steps end and c by float64 over all tasks at once."""
        parts, ops = self.parts, self.parts.ops
        rows = inner_loop.adapt(parts, theta, support, self.steps)["rows"]

        def inner(theta: Tree, rows: Array) -> Array:
            return inner_loop.gradient(parts, theta, {**inner_loop.begin(parts, theta, support), "rows": rows}, support)

        def product(x: np.ndarray) -> np.ndarray:
            return np.asarray(ops.numpy(ops.vjp(partial(inner, theta), rows, ops.array(x))), np.float64)

        _, (of_rows, _) = query_gradient(parts, rows, query, theta["problem"])
        c = ops.array(solve_exactly(product, np.asarray(ops.numpy(of_rows), np.float64)))

        def lagrangian(theta: Tree) -> Array:
            return parts.problem.losses(rows, query, theta["problem"]) - (c * inner(theta, rows)).sum(-1)

        return lagrangian

    def _note(self, found: Solution, squares: np.ndarray) -> None:
        """Keeps the worst numbers, and warns once where the gradient is not the implicit one."""
        before, residual = self._numbers, float(np.max(found.residuals))
        self._numbers = {
            "cg_residual": max(residual, before.get("cg_residual", 0.0)),
            "inner_gradient": max(float(np.sqrt(np.max(squares))), before.get("inner_gradient", 0.0)),
            "negative_curvature": int(np.sum(found.negative)) + before.get("negative_curvature", 0),
        }
        if self._warned or residual <= self.tolerance:
            return
        self._warned = True
        if np.any(found.negative):
            warn(
                "imaml: the inner problem curves down where the steps end; raise regularizer.strength or learner.steps"
            )
        else:
            left = f"{residual:.1%} of the query gradient after {self.cg_steps} steps"
            warn(f"imaml: conjugate gradients leave {left}; raise learner.cg_steps or regularizer.strength")


def imaml(
    parts: Components,
    *,
    steps: Annotated[int, Bounds(1, 1000)] = 16,
    cg_steps: Count = 10,
    tolerance: Positive = 1e-3,
) -> Imaml:
    """Builds implicit MAML (Rajeswaran et al. 2019), for a regularizer that pulls rows to their start.

    Each of the conjugate gradients costs a step of `maml`. Raises RecipeError without a pull to the start: the
    solution would not depend on it.

    Use it when inner steps are many: memory is that of one step, however many there are.
    Not when steps are few, as the inner problem is not solved then, or a rule should learn.

    steps: inner steps of an episode.
    cg_steps: the largest number of conjugate gradients.
    tolerance: they stop where the residual is this share of the query gradient.
    """
    if not parts.regularizer.holds:
        raise RecipeError(NEEDS)
    return Imaml(parts, steps, cg_steps, tolerance)
