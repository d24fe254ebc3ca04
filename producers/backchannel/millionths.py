"""Fractional numbers become whole millionths here and nowhere else, so that sums are exact."""

import math
from decimal import Decimal
from typing import Any

__all__ = ["millionths"]


def millionths(value: Any) -> int | None:
    """Returns a number in millionths, rounded half to even; ``None`` for what is no finite number.

    A ``float`` is taken as the decimal that is written for it: 0.1 is 100,000, not a hair more.
    """
    try:
        if isinstance(value, int):
            return int(value) * 1_000_000
        if isinstance(value, Decimal):
            return round(value * 1_000_000)
        number = float(value)  # also numpy's, and fractions
        if not math.isfinite(number):
            return None
        return round(Decimal(repr(number)) * 1_000_000)
    except Exception:  # noqa: BLE001  # whatever a bot calls a score
        return None
