"""Learners: ways back from the end of the inner loop to the meta-parameters. `learner: fomaml` in a recipe."""

from .fomaml import fomaml
from .maml import maml
from .reptile import reptile

KINDS = {"reptile": reptile, "fomaml": fomaml, "maml": maml}
