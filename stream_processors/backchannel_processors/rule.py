"""One alert rule, of each kind. What the fields mean stands in docs/alerts.md."""

from dataclasses import dataclass
from math import floor
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic import field_validator as _field_validator
from pydantic import model_validator as _model_validator

from backchannel_processors.annotations import BLANKS, blanks
from backchannel_processors.conversations import Limit
from backchannel_processors.durations import duration_text, parse_duration
from backchannel_processors.groupings import DIMENSIONS, Dims
from backchannel_processors.rule_metrics import METRICS, QUANTITIES, Aggregate, slow_quantity

__all__ = [
    "CONVERSATION_METRICS",
    "HELD_S_MAX",
    "KINDS",
    "WINDOW_S_MAX",
    "AnyRule",
    "BudgetRule",
    "BurnRateRule",
    "BurnWindow",
    "ChangeRule",
    "ConversationRule",
    "LagRule",
    "NoDataRule",
    "RatioRule",
    "ThresholdRule",
]

HELD_S_MAX = 120
"""Longest span that percentiles can look back on: as long as every window is held whole."""

WINDOW_S_MAX = 31 * 86_400
"""Longest span there is."""

_BASE_S = 10


def _duration(value: object) -> object:
    if not isinstance(value, str):
        # Pydantic tells a ValueError as a mistake in the file, and lets others through.
        raise ValueError('write a duration as text, e.g. "30s", "5m" or "1h"')  # noqa: TRY004
    return parse_duration(value)


_Duration = Annotated[int, BeforeValidator(_duration), Field(ge=0, le=WINDOW_S_MAX)]
_Window = Annotated[
    int, BeforeValidator(_duration), Field(ge=_BASE_S, le=WINDOW_S_MAX, multiple_of=_BASE_S)
]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[\w.-]+$")]
_Key = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_Text = Annotated[str, StringConstraints(max_length=1_024)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Op = Literal[">", ">=", "<", "<="]


class _RuleBase(BaseModel):
    """What every kind of rule has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: _Name
    by: tuple[str, ...] = ("tenant",)
    """The dimensions whose values have an alert of their own each."""
    where: Annotated[dict[_Key, tuple[_Text, ...]], Field(max_length=16)] = {}
    """Only series with one of these values; empty for all."""
    for_s: Annotated[_Duration, Field(alias="for")] = 0
    keep_firing_for_s: Annotated[_Duration, Field(alias="keep_firing_for")] = 0
    severity: Literal["info", "warning", "error", "critical"] = "warning"
    labels: Annotated[dict[_Key, _Text], Field(max_length=64)] = {}
    annotations: Annotated[dict[_Key, _Text], Field(max_length=16)] = {}

    @_field_validator("by", mode="before")
    @classmethod
    def _known_dimensions(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError('write a list of dimensions, e.g. ["tenant"]')  # noqa: TRY004
        unknown = [name for name in value if name not in DIMENSIONS]
        if unknown or len(set(value)) < len(value):
            raise ValueError(f"name some of {', '.join(DIMENSIONS)}, each once")
        return tuple(name for name in DIMENSIONS if name in value)

    @_field_validator("where", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            name: tuple(each) if isinstance(each, list) else (each,) for name, each in value.items()
        }

    @_model_validator(mode="after")
    def _where_is_by(self) -> Self:
        missing = [name for name in self.where if name not in self.by]
        if missing:
            raise ValueError(f"where: {missing[0]!r} is not in by: add it there")
        return self

    @_model_validator(mode="after")
    def _blanks_can_be_filled(self) -> Self:
        for name, text in self.annotations.items():
            unknown = sorted(blanks(text) - {*BLANKS, *self.by})
            if unknown:
                known = ", ".join((*BLANKS, *self.by))
                raise ValueError(
                    f"annotations.{name}: nothing fills {{{{{unknown[0]}}}}}; use one of {known}"
                )
        return self

    @property
    def grouping(self) -> str:
        """Name of the grouping whose series it watches."""
        return ",".join(self.by)

    def covers(self, dims: Dims) -> bool:
        """Says whether the series is one that the rule is about."""
        return all(
            value in self.where.get(name, (value,))
            for name, value in zip(self.by, dims, strict=True)
        )


class _Compared(_RuleBase):
    """A value that is compared with a threshold."""

    op: _Op = ">"
    threshold: _Number
    clear_threshold: _Number | None = None
    min_samples: Annotated[int, Field(ge=1)] = 20
    window_s: Annotated[_Window, Field(alias="window")] = 60

    @_model_validator(mode="after")
    def _clear_is_on_the_good_side(self) -> Self:
        clear = self.clear_threshold
        if clear is not None and (
            clear > self.threshold if self.op[0] == ">" else clear < self.threshold
        ):
            side = "below" if self.op[0] == ">" else "above"
            raise ValueError(
                f"clear_threshold: {clear:g} is beyond the threshold; choose one {side} "
                f"{self.threshold:g}"
            )
        return self


class ThresholdRule(_Compared):
    """A metric over a sliding window, against a threshold."""

    kind: Literal["threshold"] = "threshold"
    metric: str
    agg: Aggregate = ""

    @_model_validator(mode="after")
    def _agg_fits_metric(self) -> Self:
        metric = METRICS[_known(self.metric, METRICS)]
        if self.agg not in metric.aggregates:
            choices = ", ".join(name for name in metric.aggregates if name)
            fix = f"needs one of {choices}" if choices else "has none, leave it out"
            raise ValueError(f"agg: {self.metric} {fix}")
        if not metric.is_sum(self.agg) and self.window_s > HELD_S_MAX:
            longest = duration_text(HELD_S_MAX)
            raise ValueError(
                f"window: percentiles look back {longest} at most; for longer use kind = "
                '"burn_rate" or "ratio" with metric = "slow" and over_ms'
            )
        return self


class RatioRule(_Compared):
    """The share of one quantity in another, over a sliding window."""

    kind: Literal["ratio"] = "ratio"
    metric: str
    """The part."""
    of: str = "count"
    """The whole."""
    over_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    """With ``metric = "slow"``: turns that took longer than this."""
    agg: Literal[""] = ""

    @_model_validator(mode="after")
    def _quantities_are_known(self) -> Self:
        _part(self.metric, self.over_ms)
        _known(self.of, QUANTITIES, field="of")
        return self

    @property
    def part(self) -> str:
        """Name of the quantity above the line."""
        return _part(self.metric, self.over_ms)


class BurnWindow(BaseModel):
    """A long window, and a short one by which the alert ends soon after the trouble has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    long_s: Annotated[_Window, Field(alias="long")]
    short_s: Annotated[_Window, Field(alias="short")]
    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @_model_validator(mode="after")
    def _short_is_shorter(self) -> Self:
        if self.short_s >= self.long_s:
            raise ValueError("short: choose one that is shorter than long")
        return self


_WORKBOOK = (
    BurnWindow.model_validate({"long": "1h", "short": "5m", "factor": 14.4}),
    BurnWindow.model_validate({"long": "6h", "short": "30m", "factor": 6.0}),
)
"""The pages of the SRE workbook: 2 % of a month's error budget in an hour, 5 % in six."""


class BurnRateRule(_RuleBase):
    """How fast an error budget is used up: crossed when both windows of a pair burn too fast."""

    kind: Literal["burn_rate"] = "burn_rate"
    metric: str = "errors"
    over_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    objective: Annotated[float, Field(gt=0, lt=1)]
    """The share of turns that should be good, e.g. 0.999."""
    windows: Annotated[tuple[BurnWindow, ...], Field(min_length=1, max_length=4)] = _WORKBOOK
    min_samples: Annotated[int, Field(ge=1)] = 20
    agg: Literal[""] = ""
    op: Literal[">="] = ">="

    @_field_validator("windows", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @_model_validator(mode="after")
    def _quantity_is_known(self) -> Self:
        _part(self.metric, self.over_ms)
        return self

    @property
    def part(self) -> str:
        """Name of the quantity of bad turns."""
        return _part(self.metric, self.over_ms)

    @property
    def window_s(self) -> int:
        """The shortest window: how long too few samples say nothing."""
        return min(window.short_s for window in self.windows)


PERIODS_S = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
"""Rolling periods: a month is thirty days."""


class BudgetRule(_RuleBase):
    """What may be used up in a period."""

    kind: Literal["budget"] = "budget"
    metric: str
    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """The budget, in the metric's unit."""
    period: Literal["hour", "day", "week", "month"]
    rolling: bool = False
    """The last so many hours, instead of the calendar's period."""
    time_zone: str = "UTC"
    forecast: bool = False
    """Compare what it will be at the end of the period, at the pace of the last hour."""
    agg: Literal[""] = ""
    op: Literal[">="] = ">="
    min_samples: Annotated[int, Field(ge=1)] = 1

    @_field_validator("time_zone")
    @classmethod
    def _zone_is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{value!r} is no IANA time zone, e.g. Europe/Berlin") from error
        return value

    @_model_validator(mode="after")
    def _fits_together(self) -> Self:
        metric = METRICS[_known(self.metric, METRICS)]
        if not metric.is_total:
            totals = ", ".join(name for name, each in METRICS.items() if each.is_total)
            raise ValueError(f"metric: {self.metric} does not add up; use one of {totals}")
        if self.rolling and self.forecast:
            raise ValueError("forecast: a rolling period has no end; leave out one of the two")
        return self

    @property
    def window_s(self) -> int:
        """The length of the period, to the day."""
        return PERIODS_S[self.period]


class ChangeRule(_RuleBase):
    """A metric against the same hour of earlier days."""

    kind: Literal["change"] = "change"
    metric: str
    agg: Literal["", "mean"] = ""
    direction: Literal["up", "down", "both"] = "both"
    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    """How many robust deviations away: 1.4826 times the median distance from the median."""
    min_change: Annotated[float, Field(ge=0, le=100)] = 0.2
    """And how far from the median at least, as a share of it: calm series have tiny deviations."""
    days: Annotated[int, Field(ge=3, le=28)] = 14
    min_days: Annotated[int, Field(ge=3, le=28)] = 5
    """Days with enough samples, at least."""
    min_samples: Annotated[int, Field(ge=1)] = 100
    op: Literal[">"] = ">"

    @_model_validator(mode="after")
    def _metric_is_a_sum(self) -> Self:
        metric = METRICS[_known(self.metric, METRICS)]
        if self.agg not in metric.aggregates or not metric.is_sum(self.agg):
            sums = [
                n for n, m in METRICS.items() if m.is_sum("mean" if "mean" in m.aggregates else "")
            ]
            raise ValueError(
                f"metric: the past of {self.metric} {self.agg} is not kept; use one of "
                f'{", ".join(sums)} (latency_ms with agg = "mean")'
            )
        if self.min_days > self.days:
            raise ValueError("min_days: choose at most days")
        return self

    @property
    def window_s(self) -> int:
        return 3_600


class NoDataRule(_RuleBase):
    """A series that has had events and has none any more. Runs on the wall clock, and only up to
    where everything has been read: an outage of the workers is no silence of the bots."""

    kind: Literal["no_data"] = "no_data"
    window_s: Annotated[_Window, Field(alias="window")] = 300
    """How long nothing may come."""
    forget_after_s: Annotated[_Window, Field(alias="forget_after")] = 86_400
    """How long after its last event a series is missed; then it is forgotten."""
    metric: Literal["no_data"] = "no_data"
    agg: Literal[""] = ""
    op: Literal[">="] = ">="

    @_model_validator(mode="after")
    def _forgets_later(self) -> Self:
        if self.forget_after_s <= self.window_s:
            raise ValueError("forget_after: choose more than window")
        return self


class LagRule(_RuleBase):
    """The workers do not keep up. Runs on the wall clock, and is decided once for everything."""

    kind: Literal["lag"] = "lag"
    by: tuple[()] = ()
    window_s: Annotated[_Window, Field(alias="window")] = 60
    """How long not everything may have been read."""
    metric: Literal["lag"] = "lag"
    agg: Literal[""] = ""
    op: Literal[">="] = ">="


@dataclass(frozen=True, slots=True)
class ConversationMetric:
    """Something that one conversation comes to."""

    quantity: str
    unit: str
    scale: int = 1
    """So many of the quantity are one of the unit."""


CONVERSATION_METRICS = {
    "tokens": ConversationMetric("tokens", "tokens"),
    "input_tokens": ConversationMetric("input_tokens", "tokens"),
    "output_tokens": ConversationMetric("output_tokens", "tokens"),
    "cost_usd": ConversationMetric("cost_picousd", "usd", 10**12),
    "turns": ConversationMetric("turns", "turns"),
    "errors": ConversationMetric("errors", "turns"),
    "duration_s": ConversationMetric("duration_us", "s", 1_000_000),
}
"""What ``metric`` may name in a rule of kind ``conversation``."""


class ConversationRule(_RuleBase):
    """A single conversation that comes to more than a threshold."""

    kind: Literal["conversation"] = "conversation"
    metric: str
    threshold: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    window_s: Annotated[_Window, Field(alias="window")] = 300
    """How long after the last conversation that went over it fires."""
    min_samples: Annotated[int, Field(ge=1)] = 1
    """Conversations that have to go over in ``window``."""
    agg: Literal[""] = ""
    op: Literal[">"] = ">"

    @_field_validator("metric")
    @classmethod
    def _metric_is_of_a_conversation(cls, value: str) -> str:
        return _known(value, CONVERSATION_METRICS)

    @property
    def unit(self) -> str:
        return CONVERSATION_METRICS[self.metric].unit

    @property
    def limit(self) -> Limit:
        """What it allows one conversation, in whole units of what is added up."""
        found = CONVERSATION_METRICS[self.metric]
        return Limit(found.quantity, floor(self.threshold * found.scale))

    def value(self, total: int) -> float:
        """Returns what a conversation has come to, in the metric's unit."""
        return total / CONVERSATION_METRICS[self.metric].scale


AnyRule = (
    ThresholdRule
    | RatioRule
    | BurnRateRule
    | BudgetRule
    | ChangeRule
    | ConversationRule
    | NoDataRule
    | LagRule
)

KINDS: dict[str, type[AnyRule]] = {
    "threshold": ThresholdRule,
    "ratio": RatioRule,
    "burn_rate": BurnRateRule,
    "budget": BudgetRule,
    "change": ChangeRule,
    "conversation": ConversationRule,
    "no_data": NoDataRule,
    "lag": LagRule,
}
"""By the value of ``kind``."""


def _known(name: str, among: object, field: str = "metric") -> str:
    assert isinstance(among, dict)
    if name not in among:
        raise ValueError(f"{field}: {name!r} is unknown; use one of {', '.join(among)}")
    return name


def _part(metric: str, over_ms: int | None) -> str:
    if (metric == "slow") != (over_ms is not None):
        raise ValueError('over_ms: give it with metric = "slow", and only there')
    if over_ms is not None:
        return slow_quantity(over_ms * 1_000)
    return _known(metric, {**QUANTITIES, "slow": None})
