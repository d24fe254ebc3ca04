"""For the tests of a bot: its events as objects, without a broker.

With pytest the fixtures are there by themselves (``backchannel.testing.plugin``); any other test
framework takes ``Recording``, a context manager.
"""

from backchannel.clock import ManualClock
from backchannel.sending.memory import MemoryTransport
from backchannel.testing.recording import RecordedEvents, Recording

__all__ = ["ManualClock", "MemoryTransport", "RecordedEvents", "Recording"]
