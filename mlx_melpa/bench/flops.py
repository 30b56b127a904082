"""The matrix products of one inner step on a llama, counted exactly from its configuration

N = B L tokens in B sequences, d wide, V in the vocabulary, U positions read. A product (m, k) @ (k, n) is 2 m k n
floating-point operations. One step is the loss and its gradient to the row:

    frozen linear i -> o     2 N i o, and 2 N i o back to its input where that moves with the row
    its LoRA of rank r       2 N r (i + o), then 4 N r o (to B, and to x A) and 2 N i r (to A), and 2 N i r to an input
                             that moves
    attention, h heads       4 B h L^2 e (scores, mixture: the whole square, as engines compute it), and as much again
                             for each of its two factors that moves
    head                     4 U d V

What lies before the first adapter moves nothing: blocks below are computed once per adaptation and count for nothing
here, and inputs that no adapter stands before get no gradient. Recomputed products, as in a backward pass that has
forgotten its attention, are not counted: they are work, but not the model's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..sites import Site

COUNTED = ("llama", "mistral", "qwen2", "qwen3")
"""Families whose blocks are a llama's: four projections of attention and a gated feed-forward, all counted alike."""


class Product(NamedTuple):
    """`batch` products (m, k) @ (k, n)."""

    name: str
    batch: int
    m: int
    k: int
    n: int

    @property
    def flops(self) -> int:
        """Additions and multiplications."""
        return 2 * self.batch * self.m * self.k * self.n


@dataclass(frozen=True)
class Work:
    """What an inner step reads: sequences of `length` tokens, `read` positions in all; LoRA's rank at the sites."""

    sequences: int
    length: int
    read: int
    rank: int
    sites: frozenset[str]
    """Names as in `Site.name`."""

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return self.sequences * self.length


class _Count:
    """Walks a block's layers in order and keeps which values move with the row."""

    def __init__(self, work: Work):
        self.work, self.products = work, list[Product]()

    def add(self, name: str, m: int, k: int, n: int, batch: int = 1) -> None:
        self.products.append(Product(name, batch, m, k, n))

    def linear(self, site: str, i: int, o: int, moves: bool) -> bool:
        """A frozen linear layer, with LoRA where one is; says whether its output moves."""
        tokens, rank = self.work.tokens, self.work.rank
        self.add("linear", tokens, i, o)
        if moves:
            self.add("linear back", tokens, o, i)
        if site not in self.work.sites:
            return moves
        self.add("adapter", tokens, i, rank)
        self.add("adapter", tokens, rank, o)
        self.add("adapter back", rank, tokens, o)
        self.add("adapter back", tokens, o, rank)
        self.add("adapter back", i, tokens, rank)
        if moves:
            self.add("adapter back", tokens, rank, i)
        return True

    def attention(self, heads: int, wide: int, query: bool, key: bool, value: bool) -> bool:
        """Scores and mixture of all heads; says whether the mixture moves."""
        batch, length = self.work.sequences * heads, self.work.length
        self.add("attention", length, wide, length, batch)
        self.add("attention", length, length, wide, batch)
        if query or key:
            self.add("attention back", length, wide, length, batch)
        for moves in (query, key):
            if moves:
                self.add("attention back", length, length, wide, batch)
        if value:
            self.add("attention back", length, length, wide, batch)
        return query or key or value


def products(config: Mapping[str, Any], work: Work) -> list[Product]:
    """All products of the inner step of a llama with this configuration, from the first adapted block on."""
    d, ff, heads = (int(config[name]) for name in ("hidden_size", "intermediate_size", "num_attention_heads"))
    kv_heads = int(config.get("num_key_value_heads") or heads)
    wide = int(config.get("head_dim") or d // heads)
    first, count, stream = min(int(site.split(".", 1)[0]) for site in work.sites), _Count(work), False
    for layer in range(first, int(config["num_hidden_layers"])):
        attend, feed = f"{layer}.self_attn", f"{layer}.mlp"
        query = count.linear(f"{attend}.q_proj", d, heads * wide, stream)
        key = count.linear(f"{attend}.k_proj", d, kv_heads * wide, stream)
        value = count.linear(f"{attend}.v_proj", d, kv_heads * wide, stream)
        mixed = count.attention(heads, wide, query, key, value)
        stream = count.linear(f"{attend}.o_proj", heads * wide, d, mixed) or stream
        gate = count.linear(f"{feed}.gate_proj", d, ff, stream)
        up = count.linear(f"{feed}.up_proj", d, ff, stream)
        stream = count.linear(f"{feed}.down_proj", ff, d, gate or up) or stream
    count.add("head", work.read, d, int(config["vocab_size"]))
    count.add("head back", work.read, int(config["vocab_size"]), d)
    return count.products


def flops(counted: Iterable[Product]) -> int:
    """Floating-point operations of all."""
    return sum(product.flops for product in counted)


def names(sites: Iterable[Site]) -> frozenset[str]:
    """The sites' names, as `Work` takes them."""
    return frozenset(site.name for site in sites)
