"""Small runs for measurements: their recipes, and labelled notes by subject."""

import json
from collections.abc import Sequence
from pathlib import Path

from mlx_melpa.config.recipe import load_recipe
from mlx_melpa.store.run import Run, load_run
from mlx_melpa.training.meta_train import meta_train

HEAD = """
model: {model}
adapter: {{kind: lora, rank: 2, sites: [q_proj, v_proj], layers: 1}}
rule: {{kind: sgd, lr: 0.1}}
learner: {{kind: fomaml, steps: 2}}
train: {{iterations: 1, tasks_per_step: 1, validation_episodes: 1}}
"""
SINUSOID = """
problem: {kind: regression, hidden: [10]}
tasks: {kind: sinusoid, shots: 5, queries: 10}
rule: {kind: sgd, lr: 0.02}
learner: {kind: maml, steps: 1}
train: {iterations: 200, tasks_per_step: 4, optimizer: {kind: adam, lr: 5e-3}, validation_episodes: 2}
"""
SUBJECTS = {"pets": ["dog", "cat", "bird"], "food": ["cake", "soup", "apple"], "play": ["ball", "doll", "kite"]}


def made(folder: Path, text: str) -> Run:
    (folder / "recipe.yaml").write_text(text)
    list(meta_train(load_recipe(folder / "recipe.yaml"), folder / "run"))
    return load_run(folder / "run")


def labelled(path: Path, domains: Sequence[str]) -> Path:
    rows = [
        {"text": f"I see a {noun} number {i}", "label": noun, "domain": domain}
        for domain in domains
        for noun in SUBJECTS[domain]
        for i in range(4)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path
