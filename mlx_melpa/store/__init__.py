"""People's adapters on disk: versions, roll back, prune, remove, and where the runs lie."""

from .reservoir import Kept
from .store import Store
from .version import Run, Summary, Version, check_id

__all__ = ["Kept", "Run", "Store", "Summary", "Version", "check_id"]
