"""The matrix products of one inner step on a llama, counted exactly from its configuration

N = B L tokens in B sequences, d wide, V in the vocabulary, U positions read. A product (m, k) @ (k, n) is 2 m k n
floating-point operations. One step is the loss and its gradient to the row:

    frozen linear i -> o     2 N i o, and 2 N i o back to its input where that moves with the row
    its LoRA of rank r       2 N r (i + o), then 4 N r o (to B, and to x A) and 2 N i r (to A), and 2 N i r to an input
                             that moves
    its change, full         2 N i o, then 2 N i o (to D), and 2 N i o to an input that moves
    bottleneck of width r    on a sub-block's output: as LoRA with i = o = d
    attention, h heads       4 B h L^2 e (scores, mixture: the whole square, as engines compute it), and as much again
                             for each of its two factors that moves; L (L + m) behind a prefix of m keys and values
    prompt of m vectors      L + m for L everywhere
    head                     4 U d V

What lies before the first adapter moves nothing: blocks below are computed once per adaptation and count for nothing
here, and inputs that no adapter stands before get no gradient. Recomputed products, as in a backward pass that has
forgotten its attention, are not counted: they are work, but not the model's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..core.bases import Adapter
from ..core.sites import Site
from ..core.types import Json

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
    """The input of an inner step: sequences of `length` tokens, `read` positions in all, and the adapter at `sites`.

    `sites` are names as in `Site.name`.
    """

    sequences: int
    length: int
    read: int
    adapter: Adapter
    sites: frozenset[str]

    @property
    def places(self) -> int:
        """Places of a sequence, with the adapter's virtual tokens."""
        return self.length + self.adapter.tokens

    @property
    def tokens(self) -> int:
        """Places of all sequences."""
        return self.sequences * self.places

    @property
    def first(self) -> int:
        """The first adapted block."""
        return min(int(site.split(".", 1)[0]) for site in self.sites)


class _Count:
    """Adds up the products of a block's layers in order. A value moves if it depends on the row."""

    def __init__(self, work: Work):
        self.work, self.products = work, list[Product]()

    def add(self, name: str, m: int, k: int, n: int, batch: int = 1) -> None:
        self.products.append(Product(name, batch, m, k, n))

    def linear(self, site: str, i: int, o: int, moves: bool) -> bool:
        """A frozen linear layer with its adapter, if it has one; True if its output moves."""
        tokens = self.work.tokens
        self.add("linear", tokens, i, o)
        if moves:
            self.add("linear back", tokens, o, i)
        return self.adapter(site, i, o, moves)

    def adapter(self, site: str, i: int, o: int, moves: bool) -> bool:
        """The adapter's products at a site: forward, back to each factor, and back to an input that moves."""
        if site not in self.work.sites:
            return moves
        for wide_in, wide_out in self.work.adapter.products(Site(0, site, i, o)):
            self.add("adapter", self.work.tokens, wide_in, wide_out)
            self.add("adapter back", wide_in, self.work.tokens, wide_out)
            if moves:
                self.add("adapter back", self.work.tokens, wide_out, wide_in)
            moves = True
        return True

    def attention(self, site: str, heads: int, wide: int, query: bool, key: bool, value: bool) -> bool:
        """Scores and mixture of all heads, behind a prefix if there is one; True if the mixture moves."""
        prefix = site in self.work.sites
        batch, length = self.work.sequences * heads, self.work.places
        seen = length + (self.work.adapter.keys if prefix else 0)
        key, value = key or prefix, value or prefix
        self.add("attention", length, wide, seen, batch)
        self.add("attention", length, seen, wide, batch)
        if query or key:
            self.add("attention back", length, wide, seen, batch)
        if query:
            self.add("attention back", length, seen, wide, batch)
        for moves in (key, value):
            if moves:
                self.add("attention back", seen, length, wide, batch)
        return query or key or value


def products(config: Json, work: Work, first: int | None = None) -> list[Product]:
    """All products of the inner step of a llama with this configuration, from block `first`: the first adapted one."""
    d, ff, heads = (int(config[name]) for name in ("hidden_size", "intermediate_size", "num_attention_heads"))
    kv_heads = int(config.get("num_key_value_heads") or heads)
    wide = int(config.get("head_dim") or d // heads)
    count, stream = _Count(work), work.adapter.tokens > 0
    for layer in range(work.first if first is None else first, int(config["num_hidden_layers"])):
        attend, feed = f"{layer}.self_attn", f"{layer}.mlp"
        query = count.linear(f"{attend}.q_proj", d, heads * wide, stream)
        key = count.linear(f"{attend}.k_proj", d, kv_heads * wide, stream)
        value = count.linear(f"{attend}.v_proj", d, kv_heads * wide, stream)
        mixed = count.attention(f"{layer}.cache", heads, wide, query, key, value)
        mixed = count.linear(f"{attend}.o_proj", heads * wide, d, mixed)
        stream = count.adapter(attend, d, d, mixed) or stream
        gate = count.linear(f"{feed}.gate_proj", d, ff, stream)
        up = count.linear(f"{feed}.up_proj", d, ff, stream)
        stream = count.adapter(feed, d, d, count.linear(f"{feed}.down_proj", ff, d, gate or up)) or stream
    count.add("head", work.read, d, int(config["vocab_size"]))
    count.add("head back", work.read, int(config["vocab_size"]), d)
    return count.products


def flops(counted: Iterable[Product]) -> int:
    """Floating-point operations of all."""
    return sum(product.flops for product in counted)


def names(sites: Iterable[Site]) -> frozenset[str]:
    """The sites' names, as `Work` takes them."""
    return frozenset(site.name for site in sites)
