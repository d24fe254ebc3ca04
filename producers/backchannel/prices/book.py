"""Finds the rates of a model at an instant: own prices first, then the table of ``genai-prices``.

Without the extra ``prices`` every model is unpriced. Importing that library takes a third of a
second, so the book can be used before its table is loaded, and is loaded wherever that hurts
nobody.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from backchannel.prices.rates import Cost, Rates, cost

if TYPE_CHECKING:
    from backchannel.prices.genai_table import GenaiTable, Period

__all__ = ["PriceBook"]

_MEMO_MAX = 4_096
"""Rates that are remembered; at the bound all are forgotten, and found again one by one."""
_DAY_US = 86_400_000_000
_UNPRICED = Cost("unpriced")


class PriceBook:
    """Prices calls, from any thread. A look-up that was made before takes about a microsecond."""

    _loaded: ClassVar["GenaiTable | None"] = None
    """The one table of this process, once a book has loaded it."""

    def __init__(self, own: Mapping[str, Rates] | None = None) -> None:
        self._own = dict(own or {})
        self._table = PriceBook._loaded
        self._memo: dict[tuple[str, str, str, int], tuple[Period, ...]] = {}

    @property
    def loaded(self) -> bool:
        """Whether its table is there."""
        return self._table is not None

    @staticmethod
    def available() -> bool:
        """Whether there is a table to be loaded: the extra ``prices`` is installed."""
        return importlib.util.find_spec("genai_prices") is not None

    @staticmethod
    def make_way() -> None:
        """Imports ahead what loading the table would show half-done to a bot's own threads.

        OpenAI's client takes ``httpx2`` for whole as soon as anybody has begun to import it, and
        then the bot's call fails. Where that client is in use, it is imported here, where the bot
        starts (60 ms, once), and not beside its calls.
        """
        if "openai" in sys.modules and PriceBook.available():
            # Where another thread is at it already, this waits until it is done.
            with suppress(Exception):  # whatever is wrong with it: then there is no table either
                importlib.import_module("httpx2")

    def load(self) -> bool:
        """Loads the table, if the extra ``prices`` is installed; returns whether it is there.

        Blocks for a third of a second, the first time in a process.
        """
        if self._table is None and self.available():
            from backchannel.prices.genai_table import GenaiTable

            self._table = PriceBook._loaded = PriceBook._loaded or GenaiTable()
        return self.loaded

    def rates(self, provider: str, model: str, ts_us: int, service_tier: str = "") -> Rates | None:
        """Returns what a model costs at an instant; ``None`` when that is not known.

        Own prices stand under ``provider/model`` or ``model``; without a provider the table goes
        by the model's name. Names are compared without regard to case.
        """
        if not model:
            return None
        if self._own:
            provider_model = f"{provider}/{model}".lower()
            own = self._own.get(provider_model) or self._own.get(model.lower())
            if own is not None:
                return own
        day, us = divmod(ts_us, _DAY_US)
        key = (provider, model, service_tier, day)
        periods = self._memo.get(key)
        if periods is None:
            if self._table is None:
                return None
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            periods = self._memo[key] = self._table.day(provider, model, day, service_tier)
        found = None
        for period in periods:
            if us >= period.from_s * 1_000_000:
                found = period.rates
        return found

    def cost(
        self,
        provider: str,
        model: str,
        tokens: Mapping[str, int],
        ts_us: int,
        service_tier: str = "",
    ) -> tuple[Cost, Rates | None]:
        """Returns what a call cost, and by which rates. ``tokens`` go by the names of an event's
        fields; absent ones are 0."""
        rates = self.rates(provider, model, ts_us, service_tier)
        return (_UNPRICED, None) if rates is None else (cost(rates, tokens), rates)
