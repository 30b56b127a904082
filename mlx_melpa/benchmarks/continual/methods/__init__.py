"""Continual methods: they learn task after task. `melpa bench continual RECIPE`"""

from .con_pet_dynamic import ConPetDynamic
from .con_pet_static import ConPetStatic
from .ewc import Ewc
from .frozen import Frozen
from .joint import Joint
from .lwf import Lwf
from .maml import Maml
from .method import Method
from .naive import Naive
from .o_lora import OLora
from .oml import Oml
from .replay import Replay
from .safe import Safe
from .sema import Sema
from .single_task import SingleTask

KINDS: dict[str, type[Method]] = {
    "frozen": Frozen,
    "naive": Naive,
    "ewc": Ewc,
    "lwf": Lwf,
    "o_lora": OLora,
    "replay": Replay,
    "con_pet_static": ConPetStatic,
    "con_pet_dynamic": ConPetDynamic,
    "maml": Maml,
    "oml": Oml,
    "safe": Safe,
    "sema": Sema,
    "single_task": SingleTask,
    "joint": Joint,
}
RENAMED = {"sequential": "naive", "separate": "single_task"}
"""Names of version 0.1."""
