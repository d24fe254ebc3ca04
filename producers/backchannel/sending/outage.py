"""Says once that Kafka is away and once that it is back, however long it takes."""

import logging

from backchannel.clock import Clock
from backchannel.settings import NO_ADDRESS

__all__ = ["Outage"]

_log = logging.getLogger("backchannel")


class Outage:
    """One outage after the other, each with one line at its start and one at its end."""

    def __init__(self, kafka: str, clock: Clock) -> None:
        # Somebody else's transport is at no address of ours.
        self._who = "The transport" if kafka == NO_ADDRESS else f"Kafka at {kafka}"
        self._clock = clock
        self._since_us: int | None = None

    def began(self, reason: str) -> None:
        """Kafka does not answer."""
        if self._since_us is not None:
            return
        self._since_us = self._clock.monotonic_us()
        _log.warning(
            "%s does not answer (%s): events are kept in memory and sent when it is back",
            self._who,
            reason,
        )

    def ended(self) -> None:
        """Kafka has answered."""
        if self._since_us is None:
            return
        seconds = (self._clock.monotonic_us() - self._since_us) / 1_000_000
        self._since_us = None
        # A warning too, so that whoever saw the first line sees this one.
        _log.warning("%s answers again after %.1f s", self._who, seconds)
