"""Not measured yet"""

from typing import Any

from .settings import Advance, Settings


def measure(settings: Settings, advance: Advance) -> dict[str, Any]:
    """Nothing yet."""
    return {}
