"""Methods that learn task after task, streams of tasks, and what is kept. `melpa bench continual RECIPE`"""

from collections.abc import Callable

from .con_pet_dynamic import con_pet_dynamic
from .con_pet_static import con_pet_static
from .ewc import ewc
from .frozen import frozen
from .joint import joint
from .lwf import lwf
from .maml import maml
from .method import Method
from .o_lora import o_lora
from .oml import oml
from .replay import replay
from .safe import safe
from .sema import sema
from .separate import separate
from .sequential import sequential

KINDS: dict[str, Callable[..., Method]] = {
    "frozen": frozen,
    "sequential": sequential,
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
    "separate": separate,
    "joint": joint,
}
