"""The peer of `meta_iteration`: transformers and PEFT in torch, FOMAML by hand, exact MAML on TorchOpt.

It is written as their users would, with the faster choices: no attention mask (sequences are padded on the right), and
torch's fused attention for FOMAML. TorchOpt needs the composed one: fused ones have no second derivative.
"""

import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ....backends import machine
from ....config.build import engine
from ....core.types import Example, Json
from ..fixtures import recipe
from ..interleaved import Reply, serve

SITE = re.compile(r"\.(\d+)\.(.+)\.lora_([AB])\.default\.weight$")


class Loop:
    """The torch loop; `start` are our weights by name, from which both begin."""

    def __init__(self, settings: Json, start: dict[str, np.ndarray]):
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        from ....backends.checkpoints import fetch
        from ....readouts.completion import completion

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(machine.threads())
        self.torch, self.recipe = torch, recipe(settings["model"], settings["changes"])
        self.learner, lora = self.recipe.kind("learner"), self.recipe.settings("adapter")
        folder = fetch(settings["model"])
        base = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager" if self.learner == "maml" else "sdpa"
        )
        places = [name.rsplit(".", 1)[0].split(".", 1) for name in start]
        config = LoraConfig(
            r=lora["rank"],
            lora_alpha=lora["scale"] * lora["rank"],
            target_modules=sorted({path for _, path in places}),
            layers_to_transform=sorted({int(layer) for layer, _ in places}),
            fan_in_fan_out=base.config.model_type == "gpt2",
        )
        self.model = get_peft_model(base, config).eval()  # eval: some bases come with dropout
        self.weights = {_our_name(name): p for name, p in self.model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(torch.from_numpy(start[name].T))
        self.adapters = torch.nn.ModuleList(
            module
            for name, module in self.model.named_modules()
            if name.endswith((".lora_A.default", ".lora_B.default"))
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.reader = completion(engine("torch"), tokenizer, max_length=self.recipe.settings("readout")["max_length"])
        self.sampler, self.tasks = self.recipe.make("sampler"), self.recipe.make("tasks").train
        train = self.recipe.train
        self.seed, self.count = train.seed, train.tasks_per_step
        self.steps, self.rate = self.recipe.settings("learner")["steps"], self.recipe.settings("rule")["lr"]
        self.outer = torch.optim.Adam(self.weights.values(), lr=train.optimizer["lr"])

    def collate(self, examples: Sequence[Example]) -> Json:
        """input_ids and labels (B, L), padded on the right; -100 is not supervised."""
        encoded = [self.reader.tokens(example) for example in examples]
        shape = (len(encoded), max(len(tokens) for tokens, _ in encoded))
        ids, labels = self.torch.full(shape, self.reader.encoder.pad), self.torch.full(shape, -100)
        for i, (tokens, spans) in enumerate(encoded):
            ids[i, : len(tokens)] = self.torch.tensor(tokens)
            for a, b in spans:
                labels[i, a:b] = ids[i, a:b]
        return {"input_ids": ids, "labels": labels}

    def gradients(self, iteration: int) -> float:
        """Sets the weights' `grad` to the meta-gradient and returns the mean query loss."""
        drawn = self.sampler.next(self.tasks, self.seed, iteration, self.count)
        pairs = [(self.collate(episode.support), self.collate(episode.query)) for episode in drawn]
        self.outer.zero_grad()
        return self.exact(pairs) if self.learner == "maml" else self.first_order(pairs)

    def exact(self, pairs: Sequence[Any]) -> float:
        """MAML: TorchOpt's differentiable steps, and one backward pass through all of them, task by task."""
        import torchopt

        inner = torchopt.MetaSGD(self.adapters, lr=self.rate)
        start, whole = torchopt.extract_state_dict(self.adapters, by="reference"), 0.0
        for support, query in pairs:
            for _ in range(self.steps):
                inner.step(self.model(**support).loss)
            loss = self.model(**query).loss / len(pairs)
            loss.backward()
            whole += loss.item()
            torchopt.recover_state_dict(self.adapters, start)
        return whole

    def first_order(self, pairs: Sequence[Any]) -> float:
        """FOMAML: plain steps of SGD, then the query's gradient where they end, task by task."""
        torch, weights = self.torch, list(self.weights.values())
        start = [w.detach().clone() for w in weights]
        summed, whole = [torch.zeros_like(w) for w in weights], 0.0
        inner = torch.optim.SGD(weights, lr=self.rate)
        for support, query in pairs:
            for _ in range(self.steps):
                inner.zero_grad()
                self.model(**support).loss.backward()
                inner.step()
            inner.zero_grad()
            loss = self.model(**query).loss / len(pairs)
            loss.backward()
            whole += loss.item()
            with torch.no_grad():
                for weight, old, total in zip(weights, start, summed, strict=True):
                    total += weight.grad
                    weight.copy_(old)
        for weight, total in zip(weights, summed, strict=True):
            weight.grad = total
        return whole


def _our_name(name: str) -> str:
    layer, path, factor = SITE.findall(name)[0]
    return f"{layer}.{path}.lora_{factor.lower()}"


def work(settings: Json, reply: Reply) -> None:
    """Settings as for `meta_iteration`; reads the start from `folder` and writes the first meta-gradient there."""
    folder = settings["folder"]
    loop = Loop(settings, load_file(f"{folder}/start.safetensors"))
    loss, iteration = loop.gradients(0), 0
    gradient = {n: np.ascontiguousarray(np.asarray(w.grad).T) for n, w in loop.weights.items()}
    save_file(gradient, f"{folder}/gradient_peft.safetensors")
    answer: Json = {"loss": loss}
    while True:
        reply(answer)
        began = time.perf_counter()
        loss = loop.gradients(iteration)
        loop.outer.step()
        answer = {"seconds": time.perf_counter() - began, "loss": loss, "count": 1}
        iteration += 1


if __name__ == "__main__":
    serve(work)
