"""What is said on every engine when ranks lose each other."""

from ..errors import MelpaError

AGAIN = "What was stored is whole: start again, meta-train with --resume, with as many ranks as you like"


def lost(rank: int, count: int, error: Exception) -> MelpaError:
    """The error of a rank whose collective failed."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return MelpaError(
        f"rank {rank} of {count} lost touch with another rank ({reason}); the launcher names the one that ended. "
        f"{AGAIN}"
    )


def silent(rank: int, count: int, seconds: float) -> str:
    """What is said of a rank that still has its connection and does not use it."""
    return (
        f"error: rank {rank} of {count} has given no sign for {seconds:g} seconds: it stands still, or its machine or "
        f"network is gone. {AGAIN}"
    )
