"""Task embeddings: a vector for an episode by its support set, and how far two of them are apart."""

from .handcrafted import handcrafted
from .learned import encodes, learned
from .task2vec import distance, task2vec

KINDS = {"handcrafted": handcrafted, "task2vec": task2vec, "learned": learned}

__all__ = ["KINDS", "distance", "encodes", "handcrafted", "learned", "task2vec"]
