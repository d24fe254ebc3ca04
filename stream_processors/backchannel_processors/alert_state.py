"""The state of one alert, and what a reading makes of it. Pure; all time is event time.

                    crossed, for > 0              crossed for long enough
        inactive ─────────────────────▶ pending ─────────────────────────▶ firing ◀─┐
            ▲ ▲                            │                                 │  │   │ crossed, or
            │ └── not crossed, or silent ──┘             clear for long enough  └───┘ not yet clear
            │                                                                │
            └───────── data again ────── no_data ◀── silent ──┬── resolved ◀─┘
                                                              └ (a firing one is resolved by it)

Only two steps are published: into ``firing``, and out of it. Time never goes back: a reading that
claims an earlier time than another one had is taken as of that one's time.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

__all__ = [
    "FLAPS_MAX",
    "FLAP_HOLD_US",
    "FLAP_SPAN_US",
    "INACTIVE",
    "Condition",
    "Memory",
    "Phase",
    "Reading",
    "Timing",
    "step",
]

_MINUTE_US = 60_000_000

FLAPS_MAX = 3
"""An alert that fired so often within ``FLAP_SPAN_US`` flaps."""

FLAP_SPAN_US = 15 * _MINUTE_US

FLAP_HOLD_US = 5 * _MINUTE_US
"""How long a flapping alert has to be clear, at least, before it is over."""


class Phase(StrEnum):
    """Where an alert stands."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    NO_DATA = "no_data"
    """It fired, and then its series fell silent: published as resolved, for this reason."""


class Condition(StrEnum):
    """What a rule found in its window."""

    CROSSED = "crossed"
    """Beyond the threshold."""
    BETWEEN = "between"
    """Back from the threshold, but not yet beyond the clear threshold."""
    CLEAR = "clear"
    FEW = "few"
    """Too few samples to say."""
    SILENT = "silent"
    """No sample at all."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient a rule is."""

    for_us: int = 0
    """How long it has to be crossed before it fires."""
    keep_firing_us: int = 0
    """How long it has to be clear before it is over."""
    window_us: int = _MINUTE_US
    """How long too few samples say nothing; after that they are as good as none."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule saw, and when."""

    at_us: int
    condition: Condition


class Memory(msgspec.Struct, array_like=True, frozen=True):
    """Everything that an alert knows of its past. Small, and written with the checkpoints."""

    phase: Phase = Phase.INACTIVE
    transition: int = 0
    """Number of its last published change."""
    at_us: int = 0
    """The newest time of a reading."""
    since_us: int = 0
    """Since when it is in its phase."""
    held_us: int = 0
    """When it was last not clear."""
    enough_us: int = 0
    """When it last had enough samples."""
    fired_us: tuple[int, ...] = ()
    """When it fired last: at most ``FLAPS_MAX`` times, none older than ``FLAP_SPAN_US``."""

    @property
    def flaps(self) -> bool:
        """It goes on and off; each time it is held longer than its rule asks."""
        return len(self.fired_us) >= FLAPS_MAX

    @property
    def is_forgettable(self) -> bool:
        """A new one would behave the same."""
        return self.phase in (Phase.INACTIVE, Phase.RESOLVED, Phase.NO_DATA) and not self.fired_us


INACTIVE = Memory()


def step(memory: Memory, reading: Reading, timing: Timing) -> Memory:
    """Returns what the alert is after a reading.

    ``transition`` has risen by one exactly when there is something to publish: the alert fires now
    or it is over now. The same reading a second time changes nothing.
    """
    at_us = max(memory.at_us, reading.at_us)
    condition = reading.condition
    fired_us = tuple(each for each in memory.fired_us if at_us - each < FLAP_SPAN_US)
    enough = condition in (Condition.CROSSED, Condition.BETWEEN, Condition.CLEAR)
    memory = msgspec.structs.replace(
        memory,
        at_us=at_us,
        fired_us=fired_us,
        enough_us=at_us if enough else memory.enough_us,
    )
    if condition is Condition.FEW:
        if at_us - memory.enough_us < timing.window_us:
            return memory
        condition = Condition.SILENT
    if memory.phase is Phase.FIRING:
        return _while_firing(memory, condition, timing)
    if condition is not Condition.CROSSED:
        return _calm(memory, condition)
    if memory.phase is not Phase.PENDING:
        memory = _enter(memory, Phase.PENDING)
    if at_us - memory.since_us < timing.for_us:
        return memory
    return msgspec.structs.replace(
        memory,
        phase=Phase.FIRING,
        transition=memory.transition + 1,
        since_us=at_us,
        held_us=at_us,
        fired_us=(*fired_us, at_us)[-FLAPS_MAX:],
    )


def _while_firing(memory: Memory, condition: Condition, timing: Timing) -> Memory:
    if condition in (Condition.CROSSED, Condition.BETWEEN):
        return msgspec.structs.replace(memory, held_us=memory.at_us)
    hold_us = max(timing.keep_firing_us, FLAP_HOLD_US if memory.flaps else 0)
    if memory.at_us - memory.held_us < hold_us:
        return memory
    over = Phase.NO_DATA if condition is Condition.SILENT else Phase.RESOLVED
    return msgspec.structs.replace(_enter(memory, over), transition=memory.transition + 1)


def _calm(memory: Memory, condition: Condition) -> Memory:
    if memory.phase is Phase.PENDING:
        return _enter(memory, Phase.INACTIVE)
    if memory.phase is Phase.NO_DATA and condition is not Condition.SILENT:
        return _enter(memory, Phase.INACTIVE)
    return memory


def _enter(memory: Memory, phase: Phase) -> Memory:
    return msgspec.structs.replace(memory, phase=phase, since_us=memory.at_us)
