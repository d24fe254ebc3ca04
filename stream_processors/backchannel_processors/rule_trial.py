"""Rules on trial: the worker's own code over events that somebody made up or stored, on a clock
that the events move. No Kafka, no waiting.

    events ──▶ SourcePartition ──▶ partials ──▶ MergePartition ──▶ alerts
                (one partition)                  (one partition)
"""

from collections.abc import Iterable, Iterator, Sequence

from backchannel.events import WIDTHS_S, Alert, seal
from backchannel_processors.alerting import AlertBook
from backchannel_processors.counters import Counters
from backchannel_processors.groupings import Groupings
from backchannel_processors.merge_partition import MergePartition, MergeRules
from backchannel_processors.partials import decode_bundle, encode_bundle
from backchannel_processors.rules import Rules
from backchannel_processors.source_partition import Record, SourcePartition, WindowRules

__all__ = ["Trial"]

_SECOND_US = 1_000_000
_KEEP_S = 10
"""How often states are let go of, as a checkpoint does."""


class Trial:
    """One worker over one log. Feed it events in the order of their times."""

    def __init__(self, rules: Rules, groupings: Groupings, start_us: int) -> None:
        self.counters = Counters()
        self.now_us = start_us
        """What the clock shows."""
        self._rules = rules
        self._source = SourcePartition(
            0,
            WindowRules(groupings=groupings, fast=rules.groupings, limits=rules.limits),
            self.counters,
            next_offset=0,
            now_us=start_us,
        )
        book = AlertBook(rules)
        self._merge = MergePartition(
            MergeRules(sources=1, alerts=rules), book, next_offset=0, now_us=start_us
        )
        self._keep_at_us = start_us

    def take(self, lines: Sequence[bytes]) -> None:
        """Takes in events as they stand on ``chat.events``, all of them at the present time."""
        offset = self._source.next_offset
        batch = seal(lines, producer_id="trial", pseq=offset)
        self._source.take(Record(offset, self.now_us, batch.value, batch.headers), self.now_us)

    def until(self, at_us: int, *, step_s: int = 1) -> Iterator[Alert]:
        """Moves the clock, ``step_s`` at a time; yields what is decided on the way."""
        yield from self._decide()
        while self.now_us < at_us:
            self.now_us = min(at_us, self.now_us + step_s * _SECOND_US)
            self._source.declare_read(self._source.next_offset, self.now_us)
            yield from self._decide()

    def over(self, events: Iterable[tuple[int, bytes]], *, step_s: int = 10) -> Iterator[Alert]:
        """Takes in stored events, each with its time; yields what would have been decided."""
        waiting: list[bytes] = []
        for at_us, line in events:
            if at_us >= self.now_us + step_s * _SECOND_US:
                if waiting:
                    self.take(waiting)
                    waiting = []
                yield from self.until(at_us, step_s=step_s)
            waiting.append(line)
        if waiting:
            self.take(waiting)
        yield from self._decide()

    def _decide(self) -> Iterator[Alert]:
        partials = list(self._source.flush(fast_only=False))
        notice = self._source.notice()
        if partials or notice:
            # As bytes, since the source goes on counting in the very same states.
            bundle = decode_bundle(encode_bundle(partials, [notice] if notice else []))
            self._merge.take(self._merge.next_offset, bundle, self.now_us)
        yield from self._merge.alerts(self.now_us)
        if self.now_us >= self._keep_at_us:
            self._keep_at_us = self.now_us + _KEEP_S * _SECOND_US
            self._let_go()

    def _let_go(self) -> None:
        for width_s in WIDTHS_S:
            for _ in self._merge.rows(width_s, self.now_us):
                pass
        for _ in self._merge.finals(self.now_us):
            pass
        self._merge.checkpoint()
        self._source.closed()
        self._source.checkpoint()
