"""Update rules: change rows by their gradients. `rule: meta_sgd` in a recipe."""

from collections.abc import Callable

from ..core.protocols import Rule
from .ada_lora import ada_lora
from .adam import adam
from .learned import learned
from .lslr import lslr
from .meta_sgd import meta_sgd
from .sgd import sgd

KINDS: dict[str, Callable[..., Rule]] = {
    "sgd": sgd,
    "adam": adam,
    "meta_sgd": meta_sgd,
    "lslr": lslr,
    "learned": learned,
    "ada_lora": ada_lora,
}
