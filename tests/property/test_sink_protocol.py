"""The protocol under crashes at any step: stored is {0 … committed - 1}, each once.

The model has what the real parts have: commits with a note, fenced by a generation, and a table
that drops a block whose token it has seen. Every await of the sink may be the last thing it does.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from backchannel.clock import ManualClock
from backchannel.events import DeadLetter, Interaction, encode_event, seal
from backchannel_sinks.block import read_intent
from backchannel_sinks.counters import Counters
from backchannel_sinks.errors import FencedError, StoreAwayError
from backchannel_sinks.lane import BlockLimits, starting_position
from backchannel_sinks.records import Place, Record
from backchannel_sinks.sink import Sink

PLACE = Place("chat.events", 0)
TRACES = 2_000


class Crash(BaseException):
    """The process is killed here."""


@dataclass
class World:
    """What survives a crash: the log, the group's commit, the table."""

    rng: random.Random
    replicated: bool
    """The largest stored offset is asked of a replica that may be behind, and Kafka remembers.
    Otherwise there is one server, and Kafka may forget: each covers what the other can't."""
    log: list[Record] = field(default_factory=list)
    commit: tuple[int, str] | None = None
    generation: int = 0
    tokens: set[str] = field(default_factory=set)
    rows: list[tuple[int, int]] = field(default_factory=list)
    """(offset, pseq) as stored."""
    dead: set[int] = field(default_factory=set)

    def maybe(self, share: float, error: type[BaseException]) -> None:
        if self.rng.random() < share:
            raise error


@dataclass
class Member:
    """One sink process's view of the world; ``generation`` is what it joined with."""

    world: World
    generation: int

    async def commit(self, positions: Mapping[Place, tuple[int, str]]) -> None:
        self.world.maybe(0.05, Crash)
        if self.generation != self.world.generation:
            raise FencedError("stale")
        self.world.commit = positions[PLACE]
        self.world.maybe(0.05, Crash)

    async def insert(
        self, table: str, body: bytes, token: str, columns: Sequence[str] = ()
    ) -> None:
        world = self.world
        world.maybe(0.05, Crash)
        world.maybe(0.1, StoreAwayError)
        if token not in world.tokens:
            world.tokens.add(token)
            for line in body.split(b"\n"):
                fields = dict(part.split(b":", 1) for part in line[1:].split(b",")[:7])
                world.rows.append((int(fields[b'"_offset"']), int(fields[b'"_pseq"'])))
        world.maybe(0.1, StoreAwayError)  # stored, and the answer is lost
        world.maybe(0.05, Crash)

    async def producer_numbers(
        self, partition: int, epoch: int, before_offset: int
    ) -> Sequence[tuple[str, int]]:
        seen = [pseq for offset, pseq in self.world.rows if offset < before_offset]
        return [("p", max(seen))] if seen else []

    async def stored_offset(self, partition: int, epoch: int) -> int:
        if self.world.replicated and self.world.rng.random() < 0.5:
            return -1
        return max((offset for offset, _ in self.world.rows), default=-1)

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        self.world.maybe(0.05, Crash)
        self.world.dead.update(letter.offset for letter in letters)


def append(world: World, pseq: int) -> int:
    """Writes a record: new, a repeat of an earlier one, or garbage. Returns the next number."""
    offset = len(world.log)
    chance = world.rng.random()
    if chance < 0.1:
        world.log.append(Record(offset, 0, b"garbage", ()))
        return pseq
    number = pseq if chance < 0.85 or pseq == 1 else world.rng.randrange(1, pseq)
    batch = seal([encode_event(Interaction())], producer_id="p", pseq=number)
    world.log.append(Record(offset, 0, batch.value, batch.headers))
    return pseq + (number == pseq)


async def live(world: World, member: Member, clock: ManualClock) -> None:
    """One life of a sink: takes over where the commit says, stores, until it is killed."""
    sink = Sink(member, member, member, Counters(), clock, BlockLimits(3, 10_000, 0))
    committed, note = world.commit or (None, "")
    position = starting_position(
        PLACE,
        committed=committed,
        in_doubt=read_intent(note),
        beginning=0,
        end=len(world.log),
    )
    sink.assign({PLACE: position}, {})
    offset = position.offset
    for _ in range(world.rng.randrange(1, 12)):
        fetched = world.log[offset : offset + world.rng.randrange(1, 6)]
        sink.offer(PLACE, fetched)
        offset += len(fetched)
        await sink.store_due()
        clock.advance(seconds=world.rng.choice([0.01, 1, 20]))
        if world.rng.random() < 0.05:
            world.generation += 1  # somebody else takes the partition while this one sleeps


async def trace(seed: int) -> World:
    world, clock, pseq = World(random.Random(seed), seed % 2 == 0), ManualClock(), 1
    for _ in range(30):
        pseq = append(world, pseq)
    for _ in range(40):
        world.generation += 1
        if not world.replicated and world.rng.random() < 0.05:
            world.commit = None  # Kafka forgets the offsets of a group that was empty for long
        with contextlib.suppress(Crash, FencedError):
            await live(world, Member(world, world.generation), clock)
        if world.rng.random() < 0.3:
            pseq = append(world, pseq)
    return world


@pytest.mark.parametrize("first", range(0, TRACES, 250))
def test_whatever_is_committed_is_stored_once(first: int) -> None:
    for seed in range(first, first + 250):
        world = asyncio.run(trace(seed))
        committed = world.commit[0] if world.commit else 0
        expected: list[tuple[int, int]] = []
        last = 0
        for record in world.log[:committed]:
            number = int(dict(record.headers).get("pseq", b"0"))
            if number > last:
                expected.append((record.offset, number))
                last = number
        stored = sorted(row for row in world.rows if row[0] < committed)
        assert stored == expected, f"seed {seed}"
        assert len(world.rows) == len(set(world.rows)), f"seed {seed}: a row twice"
        garbage = {r.offset for r in world.log[:committed] if not r.headers}
        assert garbage <= world.dead, f"seed {seed}: garbage lost"
