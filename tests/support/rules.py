"""Rules and spans for tests of alerts."""

from typing import Any

from backchannel.events import Alert
from backchannel_processors.alerting import AlertBook, Clocks
from backchannel_processors.distributions import Distribution
from backchannel_processors.measures import Measures
from backchannel_processors.rule import KINDS, AnyRule
from backchannel_processors.rules import Rules
from support.interactions import NOON_US

__all__ = ["NOON", "SECOND_US", "Series", "rule_of"]

SECOND_US = 1_000_000
NOON = NOON_US // SECOND_US


def rule_of(kind: str = "threshold", **fields: Any) -> AnyRule:
    """Returns a rule, its fields as they stand in the file; ``hold`` stands for ``for``."""
    if "hold" in fields:
        fields["for"] = fields.pop("hold")
    return KINDS[kind].model_validate({"name": "rule", "kind": kind, **fields})


def measures(
    count: int = 1,
    latency_us: int = 6_000_000,
    *,
    errors: int = 0,
    tokens: int = 0,
    at_us: int = NOON_US,
) -> Measures:
    """Returns what some turns that are all alike make."""
    made = Measures(
        newest=(at_us, f"event-{(at_us - NOON_US) // SECOND_US}"),
        sums={"count": count, "errors": errors, "input_tokens": tokens},
    )
    if count:
        made.distributions["latency"] = Distribution.of([latency_us] * count)
    return made


class Series:
    """One live series of tenant ``a`` under some rules, as a merge partition would hold it."""

    def __init__(self, *rules: AnyRule, book: AlertBook | None = None) -> None:
        self.book = book or AlertBook(Rules(rules, "hash"))
        self.windows: dict[int, Measures] = {}
        self.reached_us = 0
        self.last: Alert | None = None
        self.alerts: list[Alert] = []

    def at(
        self,
        second: int,
        count: int = 1,
        latency_us: int = 6_000_000,
        *,
        errors: int = 0,
        tokens: int = 0,
    ) -> list[str]:
        """Adds turns at so many seconds after noon; returns the states that were decided."""
        at_us = NOON_US + second * SECOND_US
        start = at_us // SECOND_US // 10 * 10
        new = measures(count, latency_us, errors=errors, tokens=tokens, at_us=at_us)
        self.windows.setdefault(start, Measures()).add(new)
        self.book.changed("tenant", ("a",), new.newest)
        return self.decide(at_us)

    def silent_until(self, second: int) -> list[str]:
        """Lets time go on without a turn."""
        self.reached_us = NOON_US + second * SECOND_US
        return self.decide(self.reached_us)

    def decide(self, now_us: int, read_us: int = 0) -> list[str]:
        alerts = self.book.decide(
            lambda grouping, dims: self.windows.items() if dims == ("a",) else (),
            Clocks(now_us, self.reached_us, read_us),
        )
        self.last = alerts[-1] if alerts else None
        self.alerts += alerts
        return [alert.state for alert in alerts]

    def let_go(self, before: int) -> None:
        """Folds the windows that begin before so many seconds after noon into the past."""
        for start in sorted(self.windows):
            if start < NOON + before:
                self.book.fold(start, [(("tenant", ("a",)), self.windows.pop(start))])
