"""The protocol under crashes at any step: stored is {0 … committed - 1}, each once.

The model has what the real parts have: commits with a note, fenced by a generation, and a table
that drops a block whose token it has seen. Every await of the sink may be the last thing it does; a
member may be frozen in front of an insert while another one has the partition; the next one may cut
blocks elsewhere, find a table of another version, or a topic that was made anew.
``make faults-sink FAULTS_ARGS=--full`` runs 10,000 traces of it.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from backchannel.clock import ManualClock
from backchannel.events import DeadLetter, Interaction, encode_event, seal
from backchannel_sinks.block import read_intent
from backchannel_sinks.counters import Counters
from backchannel_sinks.errors import FencedError, RowsRefusedError, StoreAwayError
from backchannel_sinks.lane import BlockLimits, starting_position
from backchannel_sinks.records import Place, Record
from backchannel_sinks.sink import Sink

PLACE = Place("chat.events", 0)
TRACES = int(os.environ.get("BACKCHANNEL_TRACES", "1500"))


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
    epoch: int = 1
    """Which life of the topic."""
    rows: list[tuple[int, int, int]] = field(default_factory=list)
    """(epoch, offset, pseq) as stored."""
    dead: set[int] = field(default_factory=set)
    clock: ManualClock = field(default_factory=ManualClock)
    takeovers: int = 0

    def maybe(self, share: float, error: type[BaseException]) -> None:
        if self.rng.random() < share:
            raise error

    def of_this_life(self) -> list[tuple[int, int]]:
        """(offset, pseq) of the rows of the topic as it is now."""
        return [(offset, pseq) for epoch, offset, pseq in self.rows if epoch == self.epoch]

    def make_topic_anew(self) -> None:
        """Offsets begin again, and a person deletes the group, as the sink says."""
        self.epoch += 1
        self.log, self.commit, self.dead = [], None, set()


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
        # The table is of another version: every line is judged and written anew. The block is the
        # same one, also when a sink of yet another version tries it again after a crash.
        world.maybe(0.05, RowsRefusedError)
        if world.rng.random() < 0.03 and world.takeovers < 5:
            # Frozen in front of the insert, for as long as somebody else has the partition.
            world.takeovers += 1
            await take_over(world)
        if token not in world.tokens:
            world.tokens.add(token)
            for line in body.split(b"\n"):
                fields = dict(part.split(b":", 1) for part in line[1:].split(b",")[:7])
                place = (int(fields[b'"_offset"']), int(fields[b'"_pseq"']))
                world.rows.append((int(fields[b'"_epoch"']), *place))
        world.maybe(0.1, StoreAwayError)  # stored, and the answer is lost
        world.maybe(0.05, Crash)

    async def producer_numbers(
        self, partition: int, epoch: int, before_offset: int
    ) -> Sequence[tuple[str, int]]:
        assert epoch == self.world.epoch
        seen = [pseq for offset, pseq in self.world.of_this_life() if offset < before_offset]
        return [("p", max(seen))] if seen else []

    async def stored_offset(self, partition: int, epoch: int) -> int:
        if self.world.replicated and self.world.rng.random() < 0.5:
            return -1
        return max((offset for offset, _ in self.world.of_this_life()), default=-1)

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


async def take_over(world: World) -> None:
    """The partition goes to another member, who stores until it is killed or fenced."""
    world.generation += 1
    with contextlib.suppress(Crash, FencedError):
        await live(world, Member(world, world.generation))


async def live(world: World, member: Member) -> None:
    """One life of a sink: takes over where the commit says, stores, until it is killed."""
    clock = world.clock
    # Its settings may be others than those of the one before: it would cut blocks elsewhere.
    limits = BlockLimits(world.rng.choice([2, 3, 5]), 10_000, 0)
    sink = Sink(member, member, member, Counters(), clock, limits)
    committed, note = world.commit or (None, "")
    position = starting_position(
        PLACE,
        committed=committed,
        in_doubt=read_intent(note),
        beginning=0,
        end=len(world.log),
    )
    sink.assign({PLACE: position}, {PLACE.topic: world.epoch})
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
    world, pseq = World(random.Random(seed), seed % 2 == 0), 1
    for _ in range(30):
        pseq = append(world, pseq)
    for _ in range(40):
        if not world.replicated and world.rng.random() < 0.05:
            world.commit = None  # Kafka forgets the offsets of a group that was empty for long
        await take_over(world)
        if world.rng.random() < 0.3:
            pseq = append(world, pseq)
        if world.rng.random() < 0.02:
            check(world, f"seed {seed}, epoch {world.epoch}")
            world.make_topic_anew()
            for _ in range(20):
                pseq = append(world, pseq)
    return world


def check(world: World, where: str) -> None:
    """Holds what is stored of the topic as it is now to its log."""
    committed = world.commit[0] if world.commit else 0
    expected: list[tuple[int, int]] = []
    last = 0
    for record in world.log[:committed]:
        number = int(dict(record.headers).get("pseq", b"0"))
        if number > last:
            expected.append((record.offset, number))
            last = number
    stored = sorted(row for row in world.of_this_life() if row[0] < committed)
    assert stored == expected, where
    assert len(world.rows) == len(set(world.rows)), f"{where}: a row twice"
    garbage = {r.offset for r in world.log[:committed] if not r.headers}
    assert garbage <= world.dead, f"{where}: garbage lost"


@pytest.mark.parametrize("first", range(0, TRACES, 250))
def test_whatever_is_committed_is_stored_once(first: int) -> None:
    for seed in range(first, first + 250):
        check(asyncio.run(trace(seed)), f"seed {seed}")
