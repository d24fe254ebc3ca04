"""Records what producers send, in memory, for a test to look at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar, overload

from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel.events import Event
from backchannel.producer import Producer
from backchannel.sending.memory import MemoryTransport
from backchannel.sending.stats import ProducerStats
from backchannel.sending.transport import Transport
from backchannel.stand_in import StandIn, exchange_stand_in

__all__ = ["ExchangeableClock", "RecordedEvents", "Recording"]

E = TypeVar("E")

_FLUSH_TIMEOUT_S = 5.0


class ExchangeableClock:
    """A clock in whose place another one can be put, under producers that hold it already."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def now_us(self) -> int:
        return self.clock.now_us()

    def monotonic_us(self) -> int:
        return self.clock.monotonic_us()


class Recording:
    """While it is open, every new ``Producer`` sends into memory, whatever address it is given.

    A producer that brings a transport of its own, or was made before, is left alone. What was made
    in the block is closed at its end. Recordings may be nested; the inner one gets the producers.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock: ExchangeableClock = ExchangeableClock(clock)
        """What the producers take for the time."""
        self._producers: list[tuple[Producer, MemoryTransport]] = []
        self._before: StandIn | None = None

    def admit(self, producer: Producer) -> Transport:
        transport = MemoryTransport()
        self._producers.append((producer, transport))
        return transport

    def producers(self) -> Sequence[tuple[Producer, MemoryTransport]]:
        """The producers, in the order in which they were made, each with what it has sent."""
        return tuple(self._producers)

    def events(self) -> "RecordedEvents":
        """Returns a view of what is recorded from now on."""
        return RecordedEvents(self)

    def __enter__(self) -> Self:
        self._before = exchange_stand_in(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        exchange_stand_in(self._before)
        for producer, _ in self._producers:
            producer.close_sync()


@dataclass(frozen=True, slots=True)
class _Counts:
    """What one producer had counted when the view was made."""

    last_seq: int = 0
    dropped: int = 0
    fields_repaired: int = 0


class RecordedEvents(Sequence[Event]):
    """The events that the code under test has emitted: a list that grows while the code runs.

    Each is as a reader of Kafka gets it: encoded, stamped with the producer's fields, masked,
    numbered. They stand in the order in which each producer's were tracked. Every look waits for
    what was tracked by then to arrive, a few milliseconds.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._since: Mapping[str, _Counts] = {}
        self.clear()

    def clear(self) -> None:
        """Forgets what was emitted so far."""
        stats = [producer.stats() for producer, _ in self._recording.producers()]
        self._since = {each.producer_id: _counted(each) for each in stats}

    def of(self, kind: type[E]) -> list[E]:
        """Returns those of one type, e.g. ``of(Interaction)``."""
        return [event for event in self if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        """Returns the only one of a type.

        Raises:
            AssertionError: there is none, or more than one; it says what there is.
        """
        found = self.of(kind)
        if len(found) != 1:
            raise AssertionError(
                f"expected one {kind.__name__}, found {len(found)}, among {self._told()}"
            )
        return found[0]

    def assert_no_loss(self) -> None:
        """Checks that everything the code under test has emitted has arrived, whole.

        Raises:
            AssertionError: an event was dropped or did not arrive, or a field did not fit the
                contract and was cut or left out (an unknown name, a wrong type, too long a text).
        """
        arrived = {(event.producer_id, event.seq) for event in self}
        told = []
        for producer, _ in self._recording.producers():
            stats = producer.stats()
            if producer.settings.disabled:
                continue
            since = self._since.get(stats.producer_id, _Counts())
            now = _counted(stats)
            expected = range(since.last_seq + 1, now.last_seq + 1)
            missing = sum((stats.producer_id, seq) not in arrived for seq in expected)
            reasons = ", ".join(f"{count} {reason}" for reason, count in stats.dropped.items())
            if now.dropped > since.dropped:
                told.append(f"events were dropped ({reasons})")
            elif missing:
                told.append(f"{missing} events did not arrive")
            if repaired := now.fields_repaired - since.fields_repaired:
                told.append(f"{repaired} fields did not fit and were cut or left out")
        if told:
            raise AssertionError("; ".join(told))

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._read()[index]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"<RecordedEvents: {self._told()}>"

    def _read(self) -> list[Event]:
        found: list[Event] = []
        for producer, transport in self._recording.producers():
            producer.flush_sync(_FLUSH_TIMEOUT_S)
            since = self._since.get(producer.stats().producer_id, _Counts()).last_seq
            events = (event for event in transport.events() if event.seq > since)
            found += sorted(events, key=lambda event: event.seq)
        return found

    def _told(self) -> str:
        return ", ".join(type(event).__name__ for event in self) or "no events at all"


def _counted(stats: ProducerStats) -> _Counts:
    return _Counts(stats.last_seq, sum(stats.dropped.values()), stats.fields_repaired)
