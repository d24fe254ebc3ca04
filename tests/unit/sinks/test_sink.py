"""The sink between its seams: what it holds, what it skips and when it waits."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from backchannel.clock import ManualClock
from backchannel.events import DeadLetter, Interaction, encode_event, seal
from backchannel_sinks.counters import Counters
from backchannel_sinks.errors import FencedError, RowsRefusedError, StoreAwayError
from backchannel_sinks.lane import BlockLimits, Position
from backchannel_sinks.records import Place, Record
from backchannel_sinks.sink import Sink

PLACES = [Place("chat.events", number) for number in range(3)]
PLACE = PLACES[0]


class World:
    """Commits, a table that drops tokens it has seen, and dead letters, in memory."""

    def __init__(self) -> None:
        self.commits: list[tuple[int, str]] = []
        self.rows: list[dict[str, Any]] = []
        self.letters: list[DeadLetter] = []
        self.clock = ManualClock()
        self.counters = Counters()
        self.away = False
        self.fenced = False
        self.refused = 0
        """How many inserts are refused as unreadable."""
        self.insert_s = 0.0
        """How long an insert takes."""
        self._tokens: set[str] = set()

    async def commit(self, positions: Mapping[Place, tuple[int, str]]) -> None:
        if self.fenced:
            raise FencedError("not yours")
        self.commits += positions.values()

    async def insert(
        self, table: str, body: bytes, token: str, columns: Sequence[str] = ()
    ) -> None:
        if self.away:
            raise StoreAwayError("away")
        if self.refused:
            self.refused -= 1
            raise RowsRefusedError("a row")
        self.clock.advance(seconds=self.insert_s)
        if token not in self._tokens:
            self._tokens.add(token)
            self.rows += [json.loads(line) for line in body.split(b"\n")]

    async def producer_numbers(
        self, partition: int, epoch: int, before_offset: int
    ) -> Sequence[tuple[str, int]]:
        last: dict[str, int] = {}
        for row in self.rows:
            if row["_offset"] < before_offset and row["_pseq"]:
                last[row["_producer"]] = row["_pseq"]
        return list(last.items())

    async def stored_offset(self, partition: int, epoch: int) -> int:
        return max((row["_offset"] for row in self.rows), default=-1)

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        self.letters += letters

    def sink(
        self, *positions: Position, linger_us: int = 0, held_bytes_max: int = 1_000_000
    ) -> Sink:
        """A sink that has just been given partitions."""
        limits = BlockLimits(100, 100_000, linger_us, held_bytes_max)
        sink = Sink(self, self, self, self.counters, self.clock, limits)
        sink.assign(dict(zip(PLACES, positions, strict=False)), {})
        return sink


LINE = encode_event(Interaction(producer_id="p"))


def record(offset: int, pseq: int | None = None) -> Record:
    """A record that has the same bytes whenever it is read."""
    batch = seal([LINE], producer_id="p", pseq=pseq or offset + 1)
    return Record(offset, 0, batch.value, batch.headers)


async def test_a_block_is_announced_with_the_unchanged_offset_and_then_done() -> None:
    world = World()
    sink = world.sink(Position(5, None))
    sink.offer(PLACE, [record(5), record(6)])
    await sink.store_due()

    assert world.commits == [(5, "v1:6"), (7, "")]
    assert [row["_offset"] for row in world.rows] == [5, 6]


async def test_a_block_that_was_stored_before_the_crash_is_not_stored_again() -> None:
    world = World()
    first = world.sink(Position(0, None))
    first.offer(PLACE, [record(0), record(1)])
    await first.store_due()
    second = world.sink(Position(0, in_doubt=1))
    second.offer(PLACE, [record(0), record(1), record(2)])
    await second.store_due()
    await second.store_due()

    assert [row["_offset"] for row in world.rows] == [0, 1, 2]


async def test_a_repeat_is_known_to_the_next_owner_too() -> None:
    world = World()
    first = world.sink(Position(0, None))
    first.offer(PLACE, [record(0)])
    await first.store_due()
    second = world.sink(Position(1, None))
    second.offer(PLACE, [record(1, pseq=1)])
    await second.store_due()

    assert (len(world.rows), world.counters.duplicate) == (1, 1)


async def test_a_member_whose_partition_was_given_away_inserts_nothing() -> None:
    world = World()
    sink = world.sink(Position(0, None))
    sink.offer(PLACE, [record(0)])
    world.fenced = True

    with pytest.raises(FencedError):
        await sink.store_due()
    assert world.rows == []


async def test_while_clickhouse_is_away_nothing_is_committed_past_the_block() -> None:
    world = World()
    sink = world.sink(Position(0, None))
    sink.offer(PLACE, [record(0)])
    world.away = True
    for _ in range(20):
        await sink.store_due()
        world.clock.advance(seconds=20)
    assert {offset for offset, _ in world.commits} == {0}

    world.away = False
    await sink.store_due()
    assert world.commits[-1] == (1, "")


async def test_a_sink_says_how_far_it_is_behind_and_what_it_did() -> None:
    world = World()
    world.clock.advance(seconds=10)
    sink = world.sink(Position(0, None))
    sink.offer(PLACE, [record(0), record(1)])
    world.away = True
    await sink.store_due()

    state = sink.state({PLACE: 5})
    (partition,) = state.partitions
    assert (partition.lag_records, partition.lag_us) == (5, world.clock.now_us())
    assert (state.received, state.further["retries"], state.sizes["records"]) == (0, 1, 2)
    assert sink.is_away

    world.away = False
    world.clock.advance(seconds=10)
    await sink.store_due()
    state = sink.state({PLACE: 5})
    (partition,) = state.partitions
    assert (partition.lag_records, partition.lag_us) == (3, 0)
    assert state.received == state.processed + sum(state.skipped.values()) == 2
    assert not sink.is_away


async def test_a_block_that_clickhouse_refuses_is_judged_and_stored() -> None:
    world = World()
    sink = world.sink(Position(0, None))
    sink.offer(PLACE, [record(0), Record(1, 0, b"oops", ())])
    world.refused = 1
    await sink.store_due()

    assert {letter.offset for letter in world.letters} == {1}
    assert [row["_offset"] for row in world.rows] == [0]


async def test_every_line_received_is_stored_repeated_or_dead() -> None:
    world = World()
    sink = world.sink(Position(0, None))
    sink.offer(PLACE, [record(0), record(1, pseq=1), Record(2, 0, b"a\nb", ()), record(3)])
    await sink.store_due()

    counters = world.counters
    assert (counters.stored, counters.duplicate, counters.dead) == (2, 1, 2)
    assert counters.received == counters.stored + counters.duplicate + counters.dead


def bad(offset: int) -> Record:
    """A record of 300 lines that are no events."""
    return Record(offset, 0, b"\n".join([b"oops"] * 300), ())


async def test_only_bad_lines_are_taken_slowly_and_others_go_on() -> None:
    world = World()
    sink = world.sink(Position(0, None), Position(0, None))
    sink.offer(PLACES[0], [bad(offset) for offset in range(10)])
    for number in range(10):
        sink.offer(PLACES[1], [record(number)])
        await sink.store_due()

    assert (len(world.letters), len(world.rows)) == (1_200, 10)
    assert sink.full() == {PLACES[0]}

    world.clock.advance(seconds=60)
    await sink.store_due()
    await sink.store_due()
    assert len(world.letters) == 1_500


async def test_a_good_line_ends_the_rest_of_a_partition() -> None:
    world = World()
    sink = world.sink(Position(0, None))
    sink.offer(PLACE, [*(bad(offset) for offset in range(4)), record(4), bad(5)])
    for _ in range(6):
        await sink.store_due()
    assert (len(world.letters), len(world.rows)) == (1_200, 0)

    world.clock.advance(seconds=60)
    for _ in range(6):
        await sink.store_due()
    assert (len(world.letters), len(world.rows)) == (1_500, 1)


async def test_records_fetched_before_a_revocation_are_dropped() -> None:
    world = World()
    sink = world.sink(Position(0, None))
    sink.offer(PLACE, [record(0)])
    sink.revoke()

    assert sink.offer(PLACE, [record(1)]) is None
    assert sink.held_bytes == 0


def test_nothing_more_is_fetched_when_too_much_is_held() -> None:
    size = record(0).size
    sink = World().sink(Position(0, None), held_bytes_max=2 * size)
    sink.offer(PLACE, [record(0)])
    assert sink.full() == set()

    sink.offer(PLACE, [record(1)])
    assert sink.full() == {PLACE}


async def test_what_is_held_waits_for_nothing_when_no_more_is_fetched() -> None:
    world = World()
    sink = world.sink(Position(0, None), linger_us=1_000_000, held_bytes_max=2 * record(0).size)
    sink.offer(PLACE, [record(0)])
    assert sink.due_in_s(60) == 1

    sink.offer(PLACE, [record(1)])
    assert sink.due_in_s(60) == 0
    await sink.store_due()
    assert len(world.rows) == 2


async def test_records_wait_longer_the_longer_it_takes_to_insert_what_is_held() -> None:
    world = World()
    world.insert_s = 0.04
    sink = world.sink(Position(0, None), Position(0, None), linger_us=50_000)
    sink.offer(PLACE, [record(0)])
    assert sink.due_in_s(60) == 0.05
    await sink.store_due(everything=True)

    sink.offer(PLACE, [record(1)])
    assert sink.due_in_s(60) == 0.1
    sink.offer(PLACES[1], [record(0)])
    assert sink.due_in_s(60) == 0.2


async def test_records_never_wait_longer_than_the_longest_linger() -> None:
    world = World()
    world.insert_s = 100
    sink = world.sink(Position(0, None), linger_us=50_000)
    sink.offer(PLACE, [record(0)])
    await sink.store_due(everything=True)

    sink.offer(PLACE, [record(1)])
    assert sink.due_in_s(60) == 1.5


def test_a_block_in_doubt_is_fetched_to_its_end_however_much_is_held() -> None:
    sink = World().sink(*(Position(0, in_doubt=9) for _ in PLACES), held_bytes_max=1)
    for place in PLACES:
        sink.offer(place, [record(offset) for offset in range(5)])

    assert sink.full() == set()
