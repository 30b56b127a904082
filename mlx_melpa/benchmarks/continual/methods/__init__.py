"""Continual methods: they learn task after task. `melpa bench continual RECIPE`"""

from collections.abc import Callable

from .con_pet_dynamic import con_pet_dynamic
from .con_pet_static import con_pet_static
from .ewc import ewc
from .frozen import frozen
from .joint import joint
from .lwf import lwf
from .maml import maml
from .method import Method
from .naive import naive
from .o_lora import o_lora
from .oml import oml
from .replay import replay
from .safe import safe
from .sema import sema
from .single_task import single_task

KINDS: dict[str, Callable[..., Method]] = {
    "frozen": frozen,
    "naive": naive,
    "ewc": ewc,
    "lwf": lwf,
    "o_lora": o_lora,
    "replay": replay,
    "con_pet_static": con_pet_static,
    "con_pet_dynamic": con_pet_dynamic,
    "maml": maml,
    "oml": oml,
    "safe": safe,
    "sema": sema,
    "single_task": single_task,
    "joint": joint,
}
RENAMED = {"sequential": "naive", "separate": "single_task"}
"""Names of version 0.1."""
