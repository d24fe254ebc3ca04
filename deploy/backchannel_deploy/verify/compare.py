"""What a stored window says beside what its events say. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from backchannel_deploy.verify.recount import Counted
from backchannel_processors.measures import Measures
from backchannel_processors.rows import Distribution, Identity, Row, Score, Standing, row

__all__ = ["REPAIRED", "Kind", "Mismatch", "compare", "corrected"]

REPAIRED = 1 << 62
"""The bit of a revision that says it was corrected: no revision of the stream is ever as high."""

_KEPT = ("conversations_over", "dropped_events", "lost_records")
"""What no event says: it rests on the alert rules of that time, and on what never came."""

_NOT_CONTENT = frozenset(
    # Which revision it is, not what it says; and examples, of which none can be called wrong.
    (
        *("origin", "grouping", "dims", "window_s", "window_start"),
        *("revision", "final", "complete", "late", "newest_event_at_us", "published_at_us"),
        *("slowest", "costliest", "failing"),
        *_KEPT,
    )
)
_CONTENT = tuple(name for name in Row.__struct_fields__ if name not in _NOT_CONTENT)
_NOT_ADDED = ("latency_m", "latency_p", "active_")
_REGISTERS = ("users", "sessions", "active_users", "active_sessions")
_CERTAIN = Standing(final=True, certain=True, complete=True)


class Kind(StrEnum):
    """How a window and its events differ."""

    LATE = "late"
    """Events came after it was closed: a correction adds them."""
    MISSING = "missing"
    """There are events, and no window: a correction makes it."""
    EXCESS = "excess"
    """It says more than the events that are there: some are gone, or were counted twice."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A window that does not say what its events say."""

    kind: Kind
    identity: Identity
    fields: tuple[str, ...]
    """What differs; empty where there is no window."""
    stored_count: int
    """Interactions that the window says."""
    counted_count: int
    """Interactions among its events."""
    late: int
    """Late events that the stream noted on it."""
    correction: Row | None
    """What it should say; ``None`` where that cannot be told."""


def compare(
    identity: Identity, stored: Row | None, counted: Counted | None, now_us: int
) -> Mismatch | None:
    """Returns how a window differs from its events; ``None`` when it does not.

    Counts, sums and every bucket of a histogram must be equal. Equal buckets give equal
    percentiles, which are within 1.1 % of the exact ones.
    """
    measures = counted.measures if counted else Measures()
    said = corrected(identity, measures, stored.revision if stored else 0, now_us)
    for name in _KEPT if stored else ():
        setattr(said, name, getattr(stored, name))
    known = stored or row(identity, Measures(), 0, _CERTAIN, 0)
    skipped = _REGISTERS if counted and counted.erased else ()
    different = tuple(
        name
        for name in _CONTENT
        if name not in skipped and getattr(said, name) != getattr(known, name)
    )
    if not different:
        return None
    exceeds = any(
        _exceeds(getattr(known, name), getattr(said, name))
        for name in different
        if not name.startswith(_NOT_ADDED)
    )
    kind = Kind.MISSING if stored is None else Kind.EXCESS if exceeds else Kind.LATE
    return Mismatch(
        kind,
        identity,
        different if stored else (),
        known.count,
        said.count,
        known.late,
        None if exceeds else said,
    )


def corrected(identity: Identity, measures: Measures, above: int, now_us: int) -> Row:
    """Returns the row of a window with a revision that is above any other."""
    return row(identity, measures, max(above, REPAIRED) // 4 + 1, _CERTAIN, now_us)


def _exceeds(stored: object, counted: object) -> bool:
    """Says whether a window has more of something than its events."""
    if isinstance(stored, dict) and isinstance(counted, dict):
        return any(_exceeds(each, counted.get(name)) for name, each in stored.items())
    if isinstance(stored, Distribution | Score):
        return stored.count > (counted.count if isinstance(counted, Distribution | Score) else 0)
    assert isinstance(stored, int)
    return stored > (counted if isinstance(counted, int) else 0)
