"""Task embeddings: vectors of support sets, and their distances."""

from .handcrafted import handcrafted
from .learned import encodes, learned
from .task2vec import distance, task2vec

KINDS = {"handcrafted": handcrafted, "task2vec": task2vec, "learned": learned}

__all__ = ["KINDS", "distance", "encodes", "handcrafted", "learned", "task2vec"]
