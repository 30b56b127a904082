"""The multi-task baseline: one row, trained on all training tasks jointly."""

from ...config.kinds import kind_class
from ...config.recipe import Recipe, recipe_of


def multi_task(recipe: Recipe) -> Recipe:
    """The recipe's adapter and readout trained on all training tasks jointly, with no inner loop: one shared row.

    It is `learner: {kind: fomaml, steps: 0}`: gradient descent on the tasks' query losses, over as many episodes as the
    recipe's own training. The loss depends on the readout:

    - completion: the likelihood of all tasks' texts, plain multi-task fine-tuning.
    - labels, own words: cross-entropy over the episode's label words, which need no support to be understood.
    - labels, letters: letters change from episode to episode, so that a row without a support set has nothing to learn,
      and the baseline stays near a random start.
    - prototypes: classes are told apart by the class means of each episode, as a prototypical network is trained (Snell
      et al. 2017); a linear head over all classes could not be used for new ones (Chen et al. 2019).
    - ridge: the same, through each episode's solution; that is meta-learning by itself (Bertinetto et al. 2019).
    - linear: the head is written from each episode's class means, as the recipe's own is.
    """
    kind = recipe.kind("initializer")
    start = kind if kind_class("initializer", kind).closed else "universal"
    tree = {key: value for key, value in recipe.resolved.items() if value is not None}
    tree |= {"initializer": start, "rule": {"kind": "adam", "lr": 1e-3}, "regularizer": "none"}
    tree |= {"sampler": "uniform", "learner": {"kind": "fomaml", "steps": 0}}
    return recipe_of({**tree, "train": {**recipe.resolved["train"], "stream": 1}}, f"multi-task of {recipe.name}")
