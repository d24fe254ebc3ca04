"""The events of a replay, in the file's order: made whole where the file says little."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backchannel.events import TS_US_MAX, Event, Health
from backchannel_deploy.replay.pace import Pace
from backchannel_deploy.replay.synthetic import Synthesizer
from backchannel_deploy.replay.trace import BadRow, Request, read_rows

__all__ = ["Due", "replayed_events"]


@dataclass(frozen=True, slots=True)
class Due:
    """An event, and when it is to be published."""

    event: Event
    due_us: int
    """Microseconds after the start."""


def replayed_events(path: Path, pace: Pace, seed: int) -> Iterator[Due]:
    """Yields every row that can be published as an event with its new time; bad rows are left out.

    Raises:
        UserError: the file can't be read.
    """
    synthesizer = Synthesizer(seed)
    for row in read_rows(path):
        if isinstance(row, BadRow):
            continue
        event = synthesizer.interaction(row) if isinstance(row, Request) else row
        ts_us = min(max(pace.shifted(row.ts_us), 0), TS_US_MAX - 1)
        # The number within the producer is the replay's own: its producer stamps it anew.
        stamped: dict[str, object] = {"ts_us": ts_us, "producer_id": "", "seq": 0}
        if isinstance(event, Health):  # so is its last number, which proves that none is missing
            stamped["final_seq"] = None
        yield Due(event.model_copy(update=stamped), pace.due_us(row.ts_us))
