"""What is measured of interactions: sums, and a histogram of latency.

The state of a window is one ``Measures``. Two of them merge by adding, in any order and any
grouping, to exactly the state that all their events would have made together.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from backchannel.events import bucket_of
from backchannel_processors.observations import Observation

__all__ = ["ERROR_TYPES_MAX", "OTHER", "SUM_MAX", "Measures", "merged"]

ERROR_TYPES_MAX = 32
"""Error types kept apart in one window of one series; the rest is counted under ``OTHER``."""

OTHER = "__other__"
"""What stands for everything beyond a bound: error types and values of dimensions."""

SUM_MAX = 2**63 - 1
"""Sums stop here when they are written: ClickHouse and JSON readers hold 64 bits."""

_NO_ERROR = frozenset(("ok", "cancelled", "blocked"))


class Measures(msgspec.Struct, array_like=True):
    """All that is known of one series in one window. Counts are weighted by ``sample_weight``."""

    count: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    latency_count: int = 0
    latency_sum_us: int = 0
    latency_min_us: int | None = None
    latency_max_us: int = 0
    newest_event_at_us: int = 0
    late: int = 0
    """Events that came when the window was closed; nothing else here contains them."""
    errors_by_type: dict[str, int] = {}
    latency_buckets: dict[int, int] = {}

    def observe(self, observed: Observation, at_us: int) -> None:
        """Adds one interaction that happened at ``at_us``."""
        weight = observed.sample_weight
        duration_us = observed.duration_us
        self.count += weight
        self.input_tokens += weight * observed.input_tokens
        self.output_tokens += weight * observed.output_tokens
        self.latency_count += weight
        self.latency_sum_us += weight * duration_us
        if self.latency_min_us is None or duration_us < self.latency_min_us:
            self.latency_min_us = duration_us
        self.latency_max_us = max(self.latency_max_us, duration_us)
        self.newest_event_at_us = max(self.newest_event_at_us, at_us)
        buckets = self.latency_buckets
        bucket = bucket_of(duration_us)
        buckets[bucket] = buckets.get(bucket, 0) + weight
        if observed.status not in _NO_ERROR:
            self.errors += weight
            kind = observed.error_type or observed.status
            self.errors_by_type[kind] = self.errors_by_type.get(kind, 0) + weight
            if len(self.errors_by_type) > ERROR_TYPES_MAX:
                self.errors_by_type = _bounded(self.errors_by_type)

    def add(self, other: "Measures") -> None:
        """Adds another state to this one."""
        self.exchange(_NOTHING, other)

    def exchange(self, old: "Measures", new: "Measures") -> None:
        """Takes ``old`` out of this sum and ``new`` in.

        ``new`` must contain everything that ``old`` does: states only grow, so the extremes need
        no second look.
        """
        self.count += new.count - old.count
        self.errors += new.errors - old.errors
        self.input_tokens += new.input_tokens - old.input_tokens
        self.output_tokens += new.output_tokens - old.output_tokens
        self.latency_count += new.latency_count - old.latency_count
        self.latency_sum_us += new.latency_sum_us - old.latency_sum_us
        self.late += new.late - old.late
        if new.latency_min_us is not None and (
            self.latency_min_us is None or new.latency_min_us < self.latency_min_us
        ):
            self.latency_min_us = new.latency_min_us
        self.latency_max_us = max(self.latency_max_us, new.latency_max_us)
        self.newest_event_at_us = max(self.newest_event_at_us, new.newest_event_at_us)
        _exchange(self.latency_buckets, old.latency_buckets, new.latency_buckets)
        if old.errors_by_type or new.errors_by_type:
            _exchange(self.errors_by_type, old.errors_by_type, new.errors_by_type)

    def copy(self) -> "Measures":
        """Returns a state of its own with the same content."""
        return merged((self,))

    def within_bounds(self) -> "Measures":
        """Returns the state as it is written: sums at most ``SUM_MAX``, error types bounded.

        Of more than ``ERROR_TYPES_MAX`` types the first by name stay: a choice that does not
        depend on the order in which states were merged.
        """
        bounded = self.copy()
        for name in ("count", "errors", "input_tokens", "output_tokens", "latency_count"):
            setattr(bounded, name, min(getattr(bounded, name), SUM_MAX))
        bounded.latency_sum_us = min(bounded.latency_sum_us, SUM_MAX)
        bounded.late = min(bounded.late, SUM_MAX)
        bounded.errors_by_type = _bounded(bounded.errors_by_type)
        if bounded.latency_count == SUM_MAX:
            bounded.latency_buckets = {
                bucket: min(n, SUM_MAX) for bucket, n in bounded.latency_buckets.items()
            }
        return bounded


def merged(states: Iterable[Measures]) -> Measures:
    """Returns the sum of states, as a state of its own."""
    total = Measures()
    for state in states:
        total.add(state)
    return total


_NOTHING = Measures()


_Key = TypeVar("_Key", str, int)


def _exchange(sums: dict[_Key, int], old: dict[_Key, int], new: dict[_Key, int]) -> None:
    for key, n in new.items():
        step = n - old.get(key, 0)
        if step:
            sums[key] = sums.get(key, 0) + step
    if old and not old.keys() <= new.keys():  # error types that went under OTHER meanwhile
        for key in old.keys() - new.keys():
            sums[key] -= old[key]
            if not sums[key]:
                del sums[key]


def _bounded(by_type: dict[str, int]) -> dict[str, int]:
    if len(by_type) <= ERROR_TYPES_MAX:
        return by_type
    names = sorted(name for name in by_type if name != OTHER)
    kept = {name: by_type[name] for name in names[: ERROR_TYPES_MAX - 1]}
    kept[OTHER] = sum(by_type.values()) - sum(kept.values())
    return kept
