"""The baseline of few-shot tables that is trained on all tasks at once"""

from ...config.recipe import Recipe, recipe_of


def multi_task(recipe: Recipe) -> Recipe:
    """The recipe's adapter and readout trained on all training tasks jointly, with no inner loop: one shared row.

    It is `learner: {kind: fomaml, steps: 0}`: gradient descent on the tasks' query losses, over as many episodes as the
    recipe's own training. What the loss is depends on the readout. completion: the likelihood of all tasks' texts,
    plain multi-task fine-tuning. labels, own words: cross-entropy over the episode's label words, which say by
    themselves what they mean, so no support is needed. labels, letters: letters that change from episode to episode
    leave a row without a support nothing to learn, and the baseline stays near a random start. prototypes: the classes
    of all tasks are told apart by the class means of each episode, as a prototypical network is trained (Snell et al.
    2017); a linear head over all classes would have to be thrown away for new ones (Chen et al. 2019). ridge: the
    same, through each episode's solution; that is meta-learning by itself (Bertinetto et al. 2019), of the row alone.
    linear: the head is written from each episode's class means, as the recipe's own is.
    """
    begins = recipe.kind("initializer")
    start = "proto_head" if begins == "proto_head" else "universal"
    tree = {key: value for key, value in recipe.resolved.items() if value is not None}
    tree |= {"initializer": start, "rule": {"kind": "adam", "lr": 1e-3}, "regularizer": "none"}
    tree |= {"sampler": "uniform", "learner": {"kind": "fomaml", "steps": 0}}
    return recipe_of({**tree, "train": {**recipe.resolved["train"], "stream": 1}}, f"multi-task of {recipe.name}")
