"""What is said on every engine when ranks lose each other."""

from ..errors import MelpaError


def lost(rank: int, count: int, error: Exception) -> MelpaError:
    """The error of a rank whose collective failed."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return MelpaError(
        f"rank {rank} of {count} lost touch with another rank ({reason}); the launcher names the one that ended. What "
        "was stored is whole: start again, meta-train with --resume, with as many ranks as you like"
    )
