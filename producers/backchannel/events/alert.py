"""One change of an alert, as it stands on ``chat.alerts``: an open contract for any subscriber."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from backchannel.events.fields import Label, Labels, Text, TimestampUs

__all__ = ["ALERT_SCHEMA", "EXEMPLARS_MAX", "Alert", "Reason"]

EXEMPLARS_MAX = 10
"""Events that an alert names at most."""

Reason = Literal["", "clear", "no_data", "period_over", "rule_gone"]
"""Why an alert is over: back beyond its (clear) threshold; its series has fallen silent; its budget
has a new period; its rule was removed or is about something else now."""

ALERT_SCHEMA = "1.1"
"""Major and minor version of the alert schema, in the header ``schema`` of ``chat.alerts``."""


class Alert(BaseModel):
    """One transition of one alert.

    (``alert_id``, ``transition``) is unique: a record may be repeated byte for byte, never
    changed. A subscriber keeps the highest ``transition`` it has seen of each ``alert_id`` and
    drops what is not above it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    alert_id: Label
    """Stable for a rule and a series."""
    transition: int = Field(ge=1, le=2**53)
    """Number of the change of this alert, rising."""
    schema_version: Literal[1] = 1
    rule: Label
    kind: Label = "threshold"
    """Kind of the rule: threshold, ratio, burn_rate, budget, change, no_data, conversation."""
    rules_hash: Label
    """Which version of the rules decided."""
    state: Literal["firing", "resolved"]
    reason: Reason = ""
    """Why it is over; empty while it fires."""
    severity: Literal["info", "warning", "error", "critical"]
    origin: Label
    grouping: Label
    dims: dict[str, Label]
    labels: Labels = Field(default_factory=dict)
    annotations: dict[str, Text] = Field(default_factory=dict)
    metric: Label
    agg: Label = ""
    op: Literal[">", ">=", "<", "<="]
    threshold: FiniteFloat
    value: FiniteFloat | None
    """The measure when it was decided, in the metric's unit; ``None`` when traffic has stopped."""
    sample_count: int = Field(ge=0, le=2**63 - 1)
    window_s: int = Field(ge=1, le=366 * 86_400)
    window_end_us: TimestampUs
    period_start_us: TimestampUs | None = None
    """Of a budget of the calendar: where its period began."""
    complete: bool = True
    """The whole span was seen; false for a budget whose period began before its rule did."""
    flapping: bool = False
    """It went on and off several times lately, and is held longer than its rule asks."""
    starts_at_us: TimestampUs
    """When it began to fire."""
    ends_at_us: TimestampUs | None = None
    trigger_event_id: Label = ""
    """The newest event that the decision contains, by its time and then its id: the one that tipped
    it when events are told one by one, else the last of those told together. Of ``no_data`` the
    last event before the silence. Empty when nothing is known of it."""
    trigger_event_at_us: TimestampUs
    """Its event time."""
    exemplars: Annotated[list[Label], Field(max_length=EXEMPLARS_MAX)] = Field(default_factory=list)
    """Ids of events that show what it is about, the worst first: the slowest, the costliest, the
    failing, the unpriced or the lowest rated ones, as its metric asks; where there is no worst, the
    newest of each 10 s window. Of each such window three at most."""
    evaluated_at_us: TimestampUs
    """When it was decided: less ``trigger_event_at_us``, the alert's delay."""
