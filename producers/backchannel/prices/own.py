"""Prices that a bot's owner knows better: contracts, models of their own, other tables."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from backchannel.prices.rates import UNITS, Rates, Step, Unit

__all__ = ["own_rates", "picousd_per_token"]

_LITELLM: dict[str, Unit] = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "output_audio",
}
"""The names that litellm's table has, in dollars a token."""


def own_rates(prices: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Rates], list[str]]:
    """Reads prices by model (or ``provider/model``), and says what can't be read in sentences.

    Each model has dollars a million tokens by unit: ``{"input": 0.15, "output": 0.60}``, further
    ``cache_read``, ``cache_write``, ``input_audio``, ``reasoning``, ``output_audio``. The entries
    of litellm's table, in dollars a token, are taken as they are.
    """
    found: dict[str, Rates] = {}
    mistakes: list[str] = []
    for model, entry in prices.items():
        try:
            rates = {
                unit: picousd_per_token(entry[unit])
                for unit in UNITS
                if entry.get(unit) is not None
            }
            for name, unit in _LITELLM.items():
                if entry.get(name) is not None:
                    rates.setdefault(unit, picousd_per_token(_decimal(entry[name]) * 1_000_000))
        except (ArithmeticError, AttributeError, TypeError, ValueError):
            mistakes.append(f"the prices of {model!r} must be dollars a million tokens by unit")
            continue
        if not rates:
            mistakes.append(f"the prices of {model!r} name none of {', '.join(UNITS)}")
            continue
        found[model.lower()] = Rates((Step(**rates),), "custom_table", "own")
    return found, mistakes


def picousd_per_token(dollars_per_million: Any) -> int:
    """Returns a rate in whole picodollars a token, rounded half to even.

    Raises:
        ValueError: it is negative or no finite number.
    """
    rate = _decimal(dollars_per_million)
    if not rate.is_finite() or rate < 0:
        raise ValueError("a rate is a finite number, 0 or more")
    return round(rate * 1_000_000)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    return Decimal(value) if isinstance(value, (int, str)) else Decimal(repr(float(value)))
