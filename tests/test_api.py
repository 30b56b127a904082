"""The public API from end to end: what a notebook would do."""

from pathlib import Path

from mlx_melpa.api import Example, Store, adapt, evaluate, load_recipe, meta_train, open_run

RECIPE = """
model: {model}
adapter: {{kind: lora, rank: 2, layers: 2}}
tasks: {{kind: synthetic, ways: 2, shots: 2, queries: 2}}
readout: {{kind: prototypes, metric_episodes: 4}}
rule: {{kind: adam, lr: 1e-3}}
learner: {{kind: fomaml, steps: 1}}
train: {{iterations: 2, tasks_per_step: 2, validate_every: 2, validation_episodes: 2, checkpoint_every: 2}}
"""


def test_train_adapt_store_and_evaluate(shared: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE.format(model=shared / "models/stories260k"))
    events = list(meta_train(load_recipe(recipe), tmp_path / "run"))
    assert [e["event"] for e in events] == ["start", "step", "step", "validation", "end"]
    assert [e["iteration"] for e in events] == [0, 1, 2, 2, 2]
    run = open_run(tmp_path / "run")
    words = {"sea": "the fish swam to the ship", "farm": "the cow ate the green grass"}
    notes = [Example(f"{text} on day {n}", label=label) for label, text in words.items() for n in range(5)]
    outcome = adapt(run, notes)
    own = run.setup.layout.size
    assert outcome.version.labels == ("farm", "sea") and outcome.version.state.rows.shape == (1, own)
    assert len(outcome.data.folds) == 3 and len(outcome.search.fits) >= 2
    with Store(tmp_path / "home") as store:
        assert store.put("me", outcome.version) == 1
        latest = store.latest("me")
    assert latest is not None
    again = adapt(run, [Example("a new fish in the sea", label="sea")], previous=latest, steps=1)
    assert again.version.labels == ("farm", "sea") and again.data.folds == ()
    found = evaluate(run, episodes=4, methods=("base", "meta"))
    assert set(found) == {"base", "meta", "notes"} and 0 <= found["meta"]["accuracy"] <= 1
