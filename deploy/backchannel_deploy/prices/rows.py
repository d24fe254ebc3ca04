"""Rates as rows of ``prices``. Pure: the same rates give the same rows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from backchannel.prices import Rates

if TYPE_CHECKING:
    from backchannel.prices.genai_table import GenaiTable

__all__ = ["ANY", "Name", "PriceRow", "own_rows", "published_rows"]

ANY = "*"
"""The provider of a price that is for every provider."""

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A model as events name it."""

    provider: str
    model: str
    service_tier: str = ""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row; fields are columns, in their order."""

    provider: str
    model: str
    service_tier: str
    source: str
    valid_from: date
    from_s: int
    above_input_tokens: int
    input_picousd: int | None
    cache_read_picousd: int | None
    cache_write_picousd: int | None
    input_audio_picousd: int | None
    output_picousd: int | None
    reasoning_picousd: int | None
    output_audio_picousd: int | None
    price_version: str

    @property
    def key(self) -> tuple[object, ...]:
        """What tells rows apart: a later one with the same key replaces this one."""
        return astuple(self)[:7]


def published_rows(table: "GenaiTable", names: Iterable[Name]) -> Iterator[PriceRow]:
    """Yields the published prices of models, all dates; nothing for those that the table lacks."""
    for name in sorted(set(names)):
        days = table.history(name.provider, name.model, name.service_tier)
        for day, periods in days:
            for period in periods:
                yield from _steps(name, period.rates, _EPOCH + timedelta(days=day), period.from_s)


def own_rows(rates: Mapping[str, Rates]) -> Iterator[PriceRow]:
    """Yields own prices; they stand under ``model``, or ``provider/model``. A slash may also be
    part of a model's name, so such a key is taken both ways, as the price book does."""
    for key, found in sorted(rates.items()):
        provider, slash, model = key.partition("/")
        yield from _steps(Name(ANY, key), found, _EPOCH)
        if slash and provider and model:
            yield from _steps(Name(provider, model), found, _EPOCH)


def _steps(name: Name, rates: Rates, valid_from: date, from_s: int = 0) -> Iterator[PriceRow]:
    for step in rates.steps:
        yield PriceRow(
            provider=name.provider.lower(),
            model=name.model.lower(),
            service_tier=name.service_tier,
            source=rates.source,
            valid_from=valid_from,
            from_s=from_s,
            above_input_tokens=step.above_input_tokens,
            input_picousd=step.input,
            cache_read_picousd=step.cache_read,
            cache_write_picousd=step.cache_write,
            input_audio_picousd=step.input_audio,
            output_picousd=step.output,
            reasoning_picousd=step.reasoning,
            output_audio_picousd=step.output_audio,
            price_version=rates.version,
        )
