"""The series of one merge partition: the whole state of the merge agent, without I/O.

    bundle ──▶ take ──▶ states by series, window and source; their sums (``series``)
                          │  rows: windows of every width that changed
                          │  alerts: rules over sliding spans of live 10 s windows
                          │  checkpoint: states and notices, then how far everything has come
                          ▼
              restore ◀── what checkpoints wrote

Of two full states of the same series, window and source the one with the higher offset counts:
repeats and what a frozen process wrote change nothing. Longer windows are sums of the 10 s windows:
of those that are held, for as long as any of them may change, and of those that were folded into
them since (``long_windows``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import msgspec

from backchannel.events import LIVE, WIDTHS_S, Alert, BudgetState
from backchannel_processors.alerting import STATE_KINDS, AlertBook, Clocks, ErasedAlerts
from backchannel_processors.counters import MergeCounters
from backchannel_processors.erasures import Erasures
from backchannel_processors.groupings import Dims
from backchannel_processors.long_windows import FOLDED_S, PART_S, LongWindows
from backchannel_processors.measures import Measures, merged
from backchannel_processors.partials import (
    VERSION,
    Bundle,
    Notice,
    Partial,
    Progress,
    newest_of,
)
from backchannel_processors.rows import Identity, Row, Standing, row
from backchannel_processors.rules import Rules
from backchannel_processors.series import Series, Taken
from backchannel_processors.source_partition import BASE_S
from backchannel_processors.states import Entry, decode_state, encode_state

__all__ = ["LONG_S", "MergePartition", "MergeRules", "recount_entry"]

LONG_S = 60
"""Width of the windows whose 10 s windows are held, and let go of, together."""

_SECOND_US = 1_000_000
_FOR_EVER_US = 2**62
_NOTHING = Measures()


@dataclass(frozen=True, slots=True)
class MergeRules:
    """When windows are closed and forgotten."""

    sources: int
    """Partitions of ``chat.events``: each has its say in when a window is closed."""
    alerts: Rules
    partitions: int = 1
    """Partitions of ``chat.partials``: one decides what is decided once for everything."""
    lateness_s: int = 60
    remember_s: int = 120
    idle_s: int = 10
    silent_s: int = 300
    """How long a source partition without an owner can hold windows open."""


class _Held(NamedTuple):
    """Something that a row is the sum of."""

    total: Measures
    offsets: int
    is_complete: bool


_SeriesKey = tuple[str, Dims]
_RowKey = tuple[str, int, int, str, Dims]  # origin, width, start, grouping, dims


@dataclass(slots=True)
class _Origin:
    name: str
    counters: MergeCounters
    heard_us: int = 0
    """Wall clock of its newest partial."""
    windows: dict[int, dict[_SeriesKey, Series]] = field(default_factory=dict)
    told: dict[tuple[int, int], int] = field(default_factory=dict)
    """Standing that was published, by width and start."""
    long: LongWindows = field(init=False)

    def __post_init__(self) -> None:
        self.long = LongWindows(self.name, self.counters)


class _Meta(msgspec.Struct, frozen=True):
    v: int
    next_offset: int
    quiet_until_us: int = 0
    """Alerts are decided once event time has come this far: what was before has been told."""


class _PartState(msgspec.Struct, array_like=True, frozen=True):
    v: int
    taken_offset: int
    """Offset on ``chat.partials`` of the last record that changed it. The higher one of two is the
    newer one."""
    told: list[Partial]


class _NoticeState(msgspec.Struct, array_like=True, frozen=True):
    v: int
    notice: Notice


class _Key(msgspec.Struct, array_like=True, frozen=True):
    kind: str


class _PartKey(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    origin: str
    grouping: str
    dims: Dims
    window_start: int
    source: int


class _NoticeKey(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    source: int


_META_KEY = encode_state(_Key("meta"))
_decode_key = msgspec.json.Decoder(_Key).decode
_decode_part_key = msgspec.json.Decoder(_PartKey).decode


def recount_entry(next_offset: int, quiet_until_us: int) -> Entry:
    """Returns the state of a partition that starts anew at ``next_offset``, and tells of no alert
    before everything of event times up to ``quiet_until_us`` is counted."""
    return _META_KEY, encode_state(_Meta(VERSION, next_offset, quiet_until_us))


class MergePartition:
    """All series of one partition of ``chat.partials``. Owned by one task at a time."""

    def __init__(
        self,
        rules: MergeRules,
        book: AlertBook,
        *,
        next_offset: int,
        now_us: int,
        counters: MergeCounters | None = None,
    ) -> None:
        self.next_offset = next_offset
        """Offset of the record that has to come next."""
        self._rules = rules
        self._book = book
        self._counters = counters or MergeCounters()
        self._origins: dict[str, _Origin] = {}
        self._notices: dict[int, Notice] = {}
        self._heard_us = dict.fromkeys(range(rules.sources), now_us)
        self._incomplete: set[tuple[str, str, int]] = set()
        self._unsaved: dict[_PartKey, int] = {}
        self._unsaved_notices: dict[int, None] = {}
        self._rows: dict[int, dict[_RowKey, None]] = {width_s: {} for width_s in WIDTHS_S}
        self._time_us = 0
        self._ahead_offset = -1
        self._changed = False
        self._erasures = Erasures()
        self._erased: list[Entry] = []
        """Deletions of what was erased, to be written before anything of the same key."""
        self._quiet_until_us = 0

    # -- reading ---------------------------------------------------------------------------------

    def take(self, offset: int, bundle: Bundle, now_us: int) -> None:
        """Takes in the next record of the partition."""
        assert offset >= self.next_offset, "records are taken in order"
        self.next_offset = offset + 1
        self._changed = True
        self._counters.received += len(bundle.partials)
        before_us: dict[str, int] = {}
        for partial in bundle.partials:
            name = partial.origin
            if name not in before_us:
                self._origin_of(name).heard_us = now_us
                before_us[name] = self._forget_before_us(name)
            self._take_partial(partial, offset, before_us[name])
        for notice in bundle.notices:
            self._take_notice(notice, now_us)

    def _take_partial(self, partial: Partial, offset: int, before_us: int) -> None:
        start = partial.window_start
        if (start - start % LONG_S + LONG_S) * _SECOND_US <= before_us:
            self._counters.forgotten += 1
            return
        if self._erasures.covers(partial.grouping, partial.dims, _us(start)):
            self._counters.erased += 1
            return
        match self._put(partial, offset):
            case Taken.REPEATED:
                self._counters.repeated += 1
            case Taken.NO_ROOM:
                self._counters.brief_without_room += 1
            case taken:
                self._counters.counted += 1
                if partial.origin == LIVE and taken is Taken.NEWER:
                    self._book.changed(partial.grouping, partial.dims, newest_of(partial.sealed))

    def _put(self, partial: Partial, offset: int) -> Taken:
        origin = self._origin_of(partial.origin)
        start = partial.window_start
        key = (partial.grouping, partial.dims)
        series = origin.windows.setdefault(start, {}).setdefault(key, Series())
        taken = series.take(partial)
        if taken >= Taken.KEPT:
            self._unsaved[_part_key(partial)] = offset
            if not partial.is_brief:
                self._touch(partial.origin, start, key)
        return taken

    def _origin_of(self, name: str) -> _Origin:
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = _Origin(name, self._counters)
        return origin

    def _touch(self, name: str, start: int, key: _SeriesKey) -> None:
        for width_s, rows in self._rows.items():
            rows[(name, width_s, start - start % width_s, *key)] = None

    def _take_notice(self, notice: Notice, now_us: int) -> None:
        known = self._notices.get(notice.source)
        if known is not None and notice.next_offset < known.next_offset:
            return
        if not 0 <= notice.source < self._rules.sources:
            return
        self._heard_us[notice.source] = now_us
        self._notices[notice.source] = _later(known, notice)
        self._unsaved_notices[notice.source] = None
        self._incomplete.update(notice.incomplete)

    # -- telling: rows ---------------------------------------------------------------------------

    @property
    def needed_end(self) -> int:
        """Where the log of partials ends at least, if the state belongs to it."""
        return max(self.next_offset, self._ahead_offset + 1)

    def sizes(self) -> dict[str, int]:
        """Returns how much is held in memory, by kind."""
        windows = [each for origin in self._origins.values() for each in origin.windows.values()]
        return {
            "windows": len(windows),
            "series": sum(map(len, windows)),
            "origins": len(self._origins),
        }

    @property
    def has_news(self) -> bool:
        """Something came since the last checkpoint."""
        return self._changed

    def has_rows(self, width_s: int) -> bool:
        """Rows of a width wait to be told."""
        return bool(self._rows[width_s])

    @property
    def is_caught_up(self) -> bool:
        """The state is one that the log has at some point; while it is restored it may not be."""
        return self.next_offset > self._ahead_offset

    def rows(self, width_s: int, now_us: int) -> Iterator[Row]:
        """Yields the rows of one width that changed since the last call, as they are now."""
        if not self.is_caught_up:
            return
        dirty, self._rows[width_s] = self._rows[width_s], {}
        for key in dirty:
            yield from self._row(key, now_us)

    def finals(self, now_us: int) -> Iterator[Row]:
        """Yields the rows of windows that were closed since the last call."""
        if not self.is_caught_up:
            return
        for name, origin in list(self._origins.items()):
            certain_us, anyway_us = self._closed_us(name, now_us)
            widths = [
                (width_s, start)
                for width_s in WIDTHS_S
                for start in sorted(self._starts(origin, width_s))
            ]
            for width_s, start in widths:
                end_us = (start + width_s) * _SECOND_US
                level = (end_us <= anyway_us) + (end_us <= certain_us)
                told = origin.told.get((width_s, start), 0)
                origin.told[width_s, start] = level
                if level > told:
                    for key in self._series_keys(origin, width_s, start):
                        row_key = (name, width_s, start, *key)
                        self._rows[width_s].pop(row_key, None)
                        yield from self._row(row_key, now_us)
                    if width_s == BASE_S:
                        for series in origin.windows.get(start, {}).values():
                            series.rest()

    def _starts(self, origin: _Origin, width_s: int) -> set[int]:
        """Returns the windows of a width that anything is held of."""
        starts = {start - start % width_s for start in origin.windows}
        for each in FOLDED_S:
            if each <= width_s:
                starts |= {start - start % width_s for start in origin.long.starts(each)}
        return starts

    def _series_keys(self, origin: _Origin, width_s: int, start: int) -> list[_SeriesKey]:
        keys: dict[_SeriesKey, None] = {}
        for each in origin.windows:
            if start <= each < start + width_s:
                keys.update(dict.fromkeys(origin.windows[each]))
        for part_s in FOLDED_S:
            if part_s <= width_s:
                for each in origin.long.starts(part_s):
                    if start <= each < start + width_s:
                        keys.update(dict.fromkeys(origin.long.keys(part_s, each)))
        return list(keys)

    def _row(self, key: _RowKey, now_us: int) -> Iterator[Row]:
        name, width_s, start, grouping, dims = key
        origin = self._origins.get(name)
        if origin is None:
            return
        held = list(self._held(origin, width_s, start, (grouping, dims)))
        if not held:
            return
        level = origin.told.get((width_s, start), 0)
        yield row(
            Identity(name, grouping, dims, width_s, start),
            held[0].total if len(held) == 1 else merged(each.total for each in held),
            sum(each.offsets for each in held),
            Standing(
                final=level > 0,
                certain=level > 1,
                complete=all(each.is_complete for each in held),
            ),
            now_us,
        )

    def _held(self, origin: _Origin, width_s: int, start: int, key: _SeriesKey) -> Iterator[_Held]:
        """Yields what makes up a window of a series: what was folded into it, and its parts that
        were not."""
        part_s = PART_S.get(width_s, BASE_S)
        if width_s in PART_S:
            folded = origin.long.folded(width_s, start, key)
            complete = origin.long.is_complete(width_s, start, key)
            if folded is not None or not complete:
                yield _Held(*(folded or (_NOTHING, 0)), complete)
        if part_s == BASE_S:
            for each in sorted(origin.windows):
                series = origin.windows[each].get(key)
                if series is None or not start <= each < start + width_s:
                    continue
                if width_s in PART_S and origin.long.contains(width_s, start, key, each):
                    continue
                complete = (origin.name, key[0], each) not in self._incomplete
                yield _Held(series.total, series.offsets, complete)
            return
        for part in sorted(self._starts(origin, part_s)):
            if start <= part < start + width_s and not origin.long.contains(
                width_s, start, key, part
            ):
                yield from self._held(origin, part_s, part, key)

    # -- closing ---------------------------------------------------------------------------------

    def _closed_us(self, name: str, now_us: int) -> tuple[int, int]:
        """Returns up to when an origin is closed: by all source partitions, and by those that have
        an owner."""
        lateness_us = self._rules.lateness_s * _SECOND_US
        silent_us = self._rules.silent_s * _SECOND_US
        certain_us = anyway_us = _FOR_EVER_US
        for source in range(self._rules.sources):
            reached_us = self._reached_us(name, source, idle_counts=True)
            certain_us = min(certain_us, reached_us)
            if now_us - self._heard_us[source] < silent_us:
                anyway_us = min(anyway_us, reached_us)
        return certain_us - lateness_us, max(anyway_us, certain_us) - lateness_us

    def _reached_us(self, name: str, source: int, *, idle_counts: bool) -> int:
        """Returns the event time that a source partition has reached in an origin."""
        notice = self._notices.get(source)
        if notice is None:
            return 0
        progress = notice.origins.get(name)
        if progress is None:
            # It has nothing of this replay, if it was read to its end after the others had some.
            origin = self._origins.get(name)
            since_us = (origin.heard_us if origin else 0) + self._rules.idle_s * _SECOND_US
            return _FOR_EVER_US if notice.read_to_us >= since_us else 0
        over = progress.ended or (idle_counts and progress.idle)
        return _FOR_EVER_US if over else progress.watermark_us

    def _forget_before_us(self, name: str) -> int:
        """Returns the event time before which nothing of an origin can change any more."""
        held_s = self._rules.lateness_s + self._rules.remember_s
        reached = (
            self._reached_us(name, source, idle_counts=False)
            for source in range(self._rules.sources)
        )
        return min(reached) - held_s * _SECOND_US

    # -- alerts ----------------------------------------------------------------------------------

    def restored_alerts(self, now_us: int) -> list[Alert]:
        """Returns the transitions that follow from the rules having changed."""
        return self._book.retire(now_us)

    def use(self, rules: Rules) -> None:
        """Goes on with other alert rules: looks at every live series again."""
        self._book.use(rules)
        for grouping, dims in {key for window in self._live().values() for key in window}:
            self._book.look_at(grouping, dims)

    def alerts(self, now_us: int) -> list[Alert]:
        """Returns the transitions that follow from what came since the last call."""
        time_us = self._closed_us(LIVE, now_us)[1] + self._rules.lateness_s * _SECOND_US
        if not self.is_caught_up or time_us < self._quiet_until_us:
            return []
        if self._time_us + BASE_S * _SECOND_US <= time_us < _FOR_EVER_US:
            self._time_us = time_us - time_us % (BASE_S * _SECOND_US)
        read = (notice.read_to_us for notice in self._notices.values())
        read_us = min(read) if len(self._notices) == self._rules.sources else 0
        clocks = Clocks(now_us, self._time_us, read_us)

        def windows(grouping: str, dims: Dims) -> Iterator[tuple[int, Measures]]:
            return self._live_windows((grouping, dims), now_us)

        return self._book.decide(windows, clocks)

    def budgets(self) -> list[BudgetState]:
        """Returns the budgets of which there is something new since the last call."""
        return self._book.budgets()

    def _live_windows(self, key: _SeriesKey, now_us: int) -> Iterator[tuple[int, Measures]]:
        """Yields the live windows of a series, but for those that the wall clock has not reached
        yet: a clock that is ahead must not hide what the others did."""
        for start, window in self._live().items():
            series = window.get(key)
            if series is not None and start * _SECOND_US <= now_us:
                yield start, series.newest

    def _live(self) -> dict[int, dict[_SeriesKey, Series]]:
        return self._origins[LIVE].windows if LIVE in self._origins else {}

    # -- erasing ---------------------------------------------------------------------------------

    def erase(self, erasures: Erasures) -> ErasedAlerts:
        """Lets go of every series of those who were erased, and takes in no window of theirs that
        began before the request. Returns what is to be told of their alerts, at once; the states
        go with the next checkpoint. Again is harmless, and to be done after a restart: what was
        told and written may not have become durable."""
        self._erasures = erasures
        alerts = self._book.erase_alerts(erasures)
        gone = list(self._book.erase(erasures))
        for name, origin in self._origins.items():
            for start, window in origin.windows.items():
                covered = [key for key in window if erasures.covers(*key, _us(start))]
                for key in covered:
                    for source in window.pop(key).sources:
                        part_key = _PartKey("part", name, *key, start, source)
                        self._unsaved.pop(part_key, None)
                        gone.append((encode_state(part_key), None))
            gone += origin.long.erase(erasures)
        self._erased += gone
        self._changed |= bool(gone)
        return alerts

    # -- keeping ---------------------------------------------------------------------------------

    def checkpoint(self) -> tuple[Iterator[Entry], Entry, list[Entry]]:
        """Returns what to write: first these, when they are durable that, when it is durable these.

        The offset to commit is ``next_offset`` as of this call. Records may be taken while the
        states are iterated: one that is newer than this call says so by its offset, as after a
        crash. What alerts remember is of this call. Only what was told is forgotten.
        """
        unsaved, self._unsaved = self._unsaved, {}
        erased, self._erased = self._erased, []
        gone = [*self._forget(), *self._book.forget()]
        # With the past of the windows that are let go of now.
        kept = [*self._notice_states(), *self._book.changes()]
        for origin in self._origins.values():
            kept += origin.long.changes()
        self._changed = False
        meta = (_META_KEY, encode_state(_Meta(VERSION, self.next_offset, self._quiet_until_us)))
        return chain(erased, self._states(unsaved), kept), meta, gone

    def _states(self, unsaved: dict[_PartKey, int]) -> Iterator[Entry]:
        for key, offset in unsaved.items():
            state = self._state(key, self._unsaved.get(key, offset))
            if state is not None:
                yield encode_state(key), encode_state(state)

    def _state(self, key: _PartKey, offset: int) -> _PartState | None:
        origin = self._origins.get(key.origin)
        window = origin.windows.get(key.window_start, {}) if origin else {}
        series = window.get((key.grouping, key.dims))
        if series is None:
            return None
        return _PartState(VERSION, offset, series.told(key.source))

    def _notice_states(self) -> Iterator[Entry]:
        for source in self._unsaved_notices:
            value = encode_state(_NoticeState(VERSION, self._notices[source]))
            yield encode_state(_NoticeKey("notice", source)), value
        self._unsaved_notices.clear()

    def _forget(self) -> Iterator[Entry]:
        for name in list(self._origins):
            origin = self._origins[name]
            before_us = self._forget_before_us(name)
            for start in self._told_before(origin, before_us):
                window = origin.windows.pop(start)
                if name == LIVE:
                    self._book.fold(start, ((key, series.total) for key, series in window.items()))
                for key, series in window.items():
                    incomplete = (name, key[0], start) in self._incomplete
                    origin.long.fold(
                        start, key, series.total, series.offsets, incomplete=incomplete
                    )
                    for source in series.sources:
                        yield encode_state(_PartKey("part", name, *key, start, source)), None
                self._incomplete = {each for each in self._incomplete if each[::2] != (name, start)}
            yield from origin.long.let_go(before_us // _SECOND_US, self._untold_long(name))
            held = {(w, start) for w in WIDTHS_S for start in self._starts(origin, w)}
            origin.told = {place: level for place, level in origin.told.items() if place in held}
            if not held and name != LIVE and before_us > 0:
                del self._origins[name]

    def _told_before(self, origin: _Origin, before_us: int) -> list[int]:
        """Returns the windows of the minutes that ended by then, the oldest first, up to the first
        minute of which a row is still to be told."""
        over: list[int] = []
        for minute in sorted({start - start % LONG_S for start in origin.windows}):
            starts = [each for each in sorted(origin.windows) if 0 <= each - minute < LONG_S]
            if (minute + LONG_S) * _SECOND_US > before_us or any(
                (origin.name, width_s, start - start % width_s, *key) in self._rows[width_s]
                for width_s in (BASE_S, LONG_S)
                for start in starts
                for key in origin.windows[start]
            ):
                break
            over += starts
        return over

    def _untold_long(self, name: str) -> Iterator[tuple[int, int, _SeriesKey]]:
        for width_s in FOLDED_S:
            for origin, _, start, grouping, dims in self._rows[width_s]:
                if origin == name:
                    yield width_s, start, (grouping, dims)

    def restore(self, entries: Iterable[Entry], now_us: int) -> None:
        """Takes back what checkpoints wrote, in the order of the log; the higher offset counts.

        Raises:
            StateError: another version wrote it.
        """
        parts: dict[_PartKey, _PartState] = {}
        for key, value in entries:
            kind = _decode_key(key).kind
            if kind == "meta" and value is not None:
                meta = decode_state(value, _Meta)
                self.next_offset = max(self.next_offset, meta.next_offset)
                self._quiet_until_us = max(self._quiet_until_us, meta.quiet_until_us)
            elif kind == "notice" and value is not None:
                notice = decode_state(value, _NoticeState).notice
                self._notices[notice.source] = _later(self._notices.get(notice.source), notice)
                self._incomplete.update(notice.incomplete)
            elif kind == "part":
                part_key = _decode_part_key(key)
                if value is None:
                    parts.pop(part_key, None)
                    continue
                state = decode_state(value, _PartState)
                known = parts.get(part_key)
                if known is None or state.taken_offset >= known.taken_offset:
                    parts[part_key] = state
            elif kind == LongWindows.KIND:
                self._origin_of(LongWindows.origin_of(key)).long.restore(key, value)
            elif kind in STATE_KINDS:
                self._book.restore_entry(kind, key, value)
        for state in parts.values():
            for partial in state.told:
                # Also what could be let go of: its past may not have been written yet.
                self._put(partial, state.taken_offset)
                self._origins[partial.origin].heard_us = now_us
                if partial.origin == LIVE:
                    self._book.look_at(partial.grouping, partial.dims)
            self._ahead_offset = max(self._ahead_offset, state.taken_offset)
        self._unsaved.clear()
        self._book.restored()


def _us(window_start: int) -> int:
    return window_start * _SECOND_US


def _part_key(partial: Partial) -> _PartKey:
    return _PartKey(
        "part",
        partial.origin,
        partial.grouping,
        partial.dims,
        partial.window_start,
        partial.source,
    )


def _later(known: Notice | None, notice: Notice) -> Notice:
    """Returns the newer notice; time in it never goes back."""
    if known is None:
        return notice
    origins = {
        name: Progress(
            max(progress.watermark_us, known.origins[name].watermark_us)
            if name in known.origins
            else progress.watermark_us,
            progress.idle,
            progress.ended,
        )
        for name, progress in notice.origins.items()
    }
    return Notice(
        notice.source,
        notice.next_offset,
        max(known.read_to_us, notice.read_to_us),
        origins,
        notice.incomplete,
    )
