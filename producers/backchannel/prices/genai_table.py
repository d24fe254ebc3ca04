"""The price table of ``genai-prices``, as rates. The only file that knows that library."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from importlib.metadata import version

from genai_prices import data_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from backchannel.prices.own import picousd_per_token
from backchannel.prices.rates import Rates, Step, Unit

__all__ = ["Entry", "GenaiTable", "Period"]

_UNITS: dict[Unit, str] = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "input_audio": "input_audio_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "output_audio": "output_audio_mtok",
}

_PROVIDERS = {
    # OpenTelemetry's and litellm's names that the library does not know, or takes for another's.
    "az.ai.inference": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "az.ai.openai": "azure",
    "azure_openai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
}

_DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """Rates from one instant of a day on."""

    from_s: int
    """Seconds of the UTC day."""
    rates: Rates


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the table."""

    provider: str
    model: str


class GenaiTable:
    """The table that came with the library."""

    def __init__(self) -> None:
        self._snapshot = data_snapshot.get_snapshot()
        self.version = f"genai-prices {version('genai-prices')}"

    def find(self, provider: str, model: str) -> Entry | None:
        """Returns whose model a name stands for; without a provider, by the model's name alone."""
        found = self._find(provider, model)
        return None if found is None else Entry(found[0], found[1].id)

    def entries(self) -> Iterator[Entry]:
        """Returns every model of the table."""
        for provider in self._snapshot.providers:
            for model in provider.models:
                yield Entry(provider.id, model.id)

    def day(
        self, provider: str, model: str, day: int, service_tier: str = ""
    ) -> tuple[Period, ...]:
        """Returns the rates of a UTC day (counted from 1970-01-01), from midnight on: several where
        they depend on the hour. Empty when the model is not known."""
        found = self._find(provider, model)
        if found is None:
            return ()
        _, known = found
        context = _context(service_tier)
        midnight = _EPOCH + timedelta(days=day)
        periods: list[Period] = []
        for from_s in _changes(known):
            price = known.get_prices(midnight + timedelta(seconds=from_s), context)
            rates = _rates(price, self.version)
            if rates is not None and (not periods or periods[-1].rates != rates):
                periods.append(Period(from_s, rates))
        return tuple(periods)

    def history(
        self, provider: str, model: str, service_tier: str = ""
    ) -> Iterator[tuple[int, tuple[Period, ...]]]:
        """Returns the rates of a model for ever: each UTC day of a change, and the rates of that
        day and those after it."""
        for day in self.days_of_change(provider, model):
            yield day, self.day(provider, model, day, service_tier)

    def days_of_change(self, provider: str, model: str) -> tuple[int, ...]:
        """Returns the UTC days on which the rates of a model may change, ascending; the first is 0:
        between two of them every day is like the other."""
        found = self._find(provider, model)
        days = {0}
        if found is not None:
            for constraint in _constraints(found[1]):
                if isinstance(constraint, StartDateConstraint):
                    start = datetime.combine(constraint.start_date, time(), UTC)
                    days.add((start - _EPOCH).days)
        return tuple(sorted(days))

    def _find(self, provider: str, model: str) -> tuple[str, ModelInfo] | None:
        named = provider.lower().strip()
        try:
            owner, found = self._snapshot.find_provider_model(
                model, None, _PROVIDERS.get(named, named) or None, None
            )
        except LookupError:
            return None
        return owner.id, found


def _context(service_tier: str) -> dict[str, str] | None:
    if not service_tier:
        return None
    if service_tier == "batch":
        return {"processing": "batch"}
    return {"service_tier": service_tier}


def _constraints(model: ModelInfo) -> list[StartDateConstraint | TimeOfDateConstraint | None]:
    prices: list[ConditionalPrice] = [] if isinstance(model.prices, ModelPrice) else model.prices
    return [price.constraint for price in prices] + [
        variant.constraint for variant in model.price_variants or ()
    ]


def _changes(model: ModelInfo) -> list[int]:
    """Seconds of the day at which the rates may change."""
    changes = {0}
    for constraint in _constraints(model):
        if isinstance(constraint, TimeOfDateConstraint):
            for at in (constraint.start_time, constraint.end_time):
                instant = datetime.combine(_EPOCH.date(), at)
                if instant.tzinfo is None:
                    instant = instant.replace(tzinfo=UTC)
                changes.add(int((instant - _EPOCH).total_seconds()) % _DAY_S)
    return sorted(changes)


def _rates(price: ModelPrice, table_version: str) -> Rates | None:
    prices = {unit: getattr(price, key) for unit, key in _UNITS.items()}
    known = {unit: value for unit, value in prices.items() if value is not None}
    if not known:
        return None
    starts = {tier.start for value in known.values() for tier in _tiers(value)}
    steps = []
    for above in (-1, *sorted(starts)):
        at = {unit: picousd_per_token(_at(value, above)) for unit, value in known.items()}
        steps.append(Step(above_input_tokens=above, **at))
    return Rates(tuple(steps), "price_table", table_version)


def _tiers(price: Decimal | TieredPrices) -> list[Tier]:
    return price.tiers if isinstance(price, TieredPrices) else []


def _at(price: Decimal | TieredPrices, above: int) -> Decimal:
    if not isinstance(price, TieredPrices):
        return price
    found = price.base
    for tier in price.tiers:
        if tier.start <= above:
            found = tier.price
    return found
