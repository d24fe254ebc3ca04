"""Who takes Kafka's place while tests record. In a bot: nobody.

A bot makes its producers wherever it likes, with an address of Kafka. A test that wants to see what
they say puts a stand-in here; every producer that is made meanwhile, and brings no transport of its
own, sends to that.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from backchannel.clock import Clock
from backchannel.sending.transport import Transport

if TYPE_CHECKING:
    from backchannel.producer import Producer

__all__ = ["StandIn", "exchange_stand_in", "stand_in"]


class StandIn(Protocol):
    """What a new producer is given in place of the real things."""

    @property
    def clock(self) -> Clock:
        """The clock of every producer that is told no other."""
        ...

    def admit(self, producer: "Producer") -> Transport:
        """Takes note of a new producer, and returns where it sends to."""
        ...


@dataclass(slots=True)
class _Place:
    taken_by: StandIn | None = None


_PLACE = _Place()


def stand_in() -> StandIn | None:
    """Returns who stands in at the moment, in this process."""
    return _PLACE.taken_by


def exchange_stand_in(new: StandIn | None) -> StandIn | None:
    """Puts another one in the place, or nobody; returns who was there."""
    before, _PLACE.taken_by = _PLACE.taken_by, new
    return before
