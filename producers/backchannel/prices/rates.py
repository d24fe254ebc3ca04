"""Rates, and what so many tokens cost at them. Integers only, so that sums are exact.

Tokens are inclusive, as in the contract: tokens read from and written to a cache and audio are part
of the input, reasoning and audio are part of the output. A part with a rate of its own is taken out
of the whole and counted at that rate; a part without one costs what the whole does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["UNITS", "Cost", "Rates", "Step", "Unit", "cost"]

Unit = Literal[
    "input", "cache_read", "cache_write", "input_audio", "output", "reasoning", "output_audio"
]
"""What has a rate of its own."""

UNITS: dict[Unit, str] = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "input_audio": "input_audio_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
    "output_audio": "output_audio_tokens",
}
"""Each unit, and the field of an event that counts it."""

_PICOUSD_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The rates above a number of input tokens: picodollars a token, ``None`` where there is none.

    $1 a million tokens is 1,000,000 picodollars a token.
    """

    above_input_tokens: int = -1
    """A call with more input tokens than this has these rates, for all its tokens."""
    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    input_audio: int | None = None
    output: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model costs at one time."""

    steps: tuple[Step, ...]
    """The first from -1, the others above it, ascending; the last that applies counts."""
    source: Literal["price_table", "custom_table"] = "price_table"
    version: str = ""
    """Which edition of the table they are from."""

    def step(self, input_tokens: int) -> Step:
        """Returns the rates of a call with so many input tokens."""
        found = self.steps[0]
        for step in self.steps[1:]:
            if input_tokens > step.above_input_tokens:
                found = step
        return found


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost, in picodollars; or why that is not known."""

    status: Literal["priced", "unpriced", "invalid_usage"]
    input_picousd: int = 0
    output_picousd: int = 0

    @property
    def picousd(self) -> int | None:
        """The total; ``None`` when it is not known."""
        return self.input_picousd + self.output_picousd if self.status == "priced" else None


_INVALID = Cost("invalid_usage")
_UNPRICED = Cost("unpriced")


def cost(rates: Rates, tokens: Mapping[str, int]) -> Cost:
    """Returns what tokens cost, by the names of an event's fields: ``input_tokens`` and so on.

    ``invalid_usage`` when parts are more than their whole, ``unpriced`` when tokens were used that
    have no rate.
    """
    whole_in, whole_out = tokens.get("input_tokens", 0), tokens.get("output_tokens", 0)
    read, written = tokens.get("cache_read_tokens", 0), tokens.get("cache_write_tokens", 0)
    reasoning = tokens.get("reasoning_tokens", 0)
    audio_in, audio_out = tokens.get("input_audio_tokens", 0), tokens.get("output_audio_tokens", 0)
    if read + written > whole_in or audio_in > whole_in:
        return _INVALID
    if reasoning > whole_out or audio_out > whole_out:
        return _INVALID
    step = rates.step(whole_in)
    input_picousd = _side(
        whole_in,
        step.input,
        ((read, step.cache_read), (written, step.cache_write), (audio_in, step.input_audio)),
    )
    output_picousd = _side(
        whole_out, step.output, ((reasoning, step.reasoning), (audio_out, step.output_audio))
    )
    if input_picousd is None or output_picousd is None:
        return _UNPRICED
    if min(input_picousd, output_picousd) < 0 or input_picousd + output_picousd > _PICOUSD_MAX:
        return _INVALID
    return Cost("priced", input_picousd, output_picousd)


def _side(whole: int, rate: int | None, parts: tuple[tuple[int, int | None], ...]) -> int | None:
    """Input or output: ``None`` without a rate, negative when priced parts exceed the whole."""
    total, rest = 0, whole
    for count, own_rate in parts:
        if own_rate is not None:
            total += count * own_rate
            rest -= count
    if rest < 0:
        return -1
    if rest == 0:
        return total
    return None if rate is None else total + rest * rate
