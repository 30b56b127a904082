"""Methods that learn task after task, streams of tasks, and what is kept. `melpa bench continual RECIPE`"""

from collections.abc import Callable

from .ewc import ewc
from .frozen import frozen
from .joint import joint
from .lwf import lwf
from .method import Method
from .o_lora import o_lora
from .replay import replay
from .separate import separate
from .sequential import sequential

KINDS: dict[str, Callable[..., Method]] = {
    "frozen": frozen,
    "sequential": sequential,
    "ewc": ewc,
    "lwf": lwf,
    "o_lora": o_lora,
    "replay": replay,
    "separate": separate,
    "joint": joint,
}
