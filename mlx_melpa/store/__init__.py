"""Users' adapters on disk: versions, rollback, pruning, removal; and meta-trained runs."""

from .reservoir import Reservoir
from .store import Store
from .version import NOT_MEASURED, BitsPerByte, Origin, RunRecord, Summary, UserState, Version, check_id

__all__ = [
    "NOT_MEASURED",
    "BitsPerByte",
    "Origin",
    "Reservoir",
    "RunRecord",
    "Store",
    "Summary",
    "UserState",
    "Version",
    "check_id",
]
