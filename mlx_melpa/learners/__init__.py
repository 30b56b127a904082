"""Learners: compute the gradient of the query loss by the meta-parameters. `learner: fomaml` in a recipe."""

from collections.abc import Callable

from ..core.protocols import Learner
from .anil import anil
from .fomaml import fomaml
from .imaml import imaml
from .maml import maml
from .maml_plus_plus import maml_plus_plus
from .reptile import reptile

KINDS: dict[str, Callable[..., Learner]] = {
    "reptile": reptile,
    "fomaml": fomaml,
    "maml": maml,
    "maml_plus_plus": maml_plus_plus,
    "anil": anil,
    "imaml": imaml,
}
