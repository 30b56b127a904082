"""Update rules: how rows move along their gradients. `rule: meta_sgd` in a recipe."""

from .adam import adam
from .learned import learned
from .lslr import lslr
from .meta_sgd import meta_sgd
from .sgd import sgd

KINDS = {"sgd": sgd, "adam": adam, "meta_sgd": meta_sgd, "lslr": lslr, "learned": learned}
