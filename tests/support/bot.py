"""A bot's side of a producer: a clock that is moved by hand, and the events that came out."""

from collections.abc import Mapping
from typing import Any, TypeVar, Unpack

from backchannel import MemoryTransport, Producer
from backchannel.clock import ManualClock
from backchannel.events import Event
from backchannel.settings import SettingsArguments

E = TypeVar("E", bound=Event)


class Bot:
    """A producer in memory. ``events`` and ``only`` close it."""

    def __init__(
        self,
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Unpack[SettingsArguments],
    ) -> None:
        self.clock = ManualClock()
        self.transport = MemoryTransport(1)
        self.producer = Producer(
            transport=self.transport, clock=self.clock, prices=prices, **settings
        )

    def events(self) -> list[Event]:
        """All events, in the order they were told."""
        assert self.producer.close_sync() == 0
        return sorted(self.transport.events(), key=lambda event: event.seq)

    def all(self, model: type[E]) -> list[E]:
        """Those of one type."""
        return [event for event in self.events() if isinstance(event, model)]

    def only(self, model: type[E]) -> E:
        """The only event of a type."""
        (event,) = self.all(model)
        return event
