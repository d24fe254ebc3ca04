"""Prices what calls and turns used, on the fields of their events."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from backchannel.prices import PriceBook, cost

__all__ = ["TOKENS", "dollars", "picodollars", "price"]

TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
)
"""The fields that count tokens."""

_PICO = Decimal(10) ** 12


def price(book: PriceBook, fields: dict[str, Any], models: tuple[Any, ...], ts_us: int) -> None:
    """Puts the cost on fields that say what was used; nothing where nothing was.

    A cost that is there already was reported. Of the models, which are names for the same one, the
    first that has a price counts. A cost that is not known is left out, and its status says why.
    """
    if fields.get("cost_picousd") is not None:
        fields.setdefault("cost_source", "reported")
        fields.setdefault("cost_status", "priced")
        return
    if "cost_status" in fields or not (fields.get("input_tokens") or fields.get("output_tokens")):
        return
    provider, tier = _word(fields.get("provider")), _word(fields.get("service_tier"))
    for model in models:
        rates = book.rates(provider, _word(model), ts_us, tier)
        if rates is not None:
            break
    else:
        fields["cost_status"] = "unpriced"
        return
    found = cost(rates, {name: count for name in TOKENS if type(count := fields.get(name)) is int})
    fields["cost_status"] = found.status
    fields["cost_source"] = rates.source
    fields["price_version"] = rates.version
    if found.status == "priced":
        fields["input_cost_picousd"] = found.input_picousd
        fields["output_cost_picousd"] = found.output_picousd
        fields["cost_picousd"] = found.picousd


def picodollars(dollars: Any) -> int | None:
    """Returns dollars in picodollars, rounded half to even; ``None`` for what is no amount."""
    try:
        exact = dollars if isinstance(dollars, (Decimal, int)) else Decimal(repr(float(dollars)))
        return round(Decimal(exact) * _PICO)
    except Exception:  # noqa: BLE001  # whatever a bot calls an amount
        return None


def dollars(fields: Mapping[str, Any]) -> Decimal | None:
    """Returns the cost that fields say, exactly."""
    picousd = fields.get("cost_picousd")
    return Decimal(picousd) / _PICO if isinstance(picousd, int) else None


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
