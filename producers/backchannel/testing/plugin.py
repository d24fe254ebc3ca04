"""The pytest plugin: it comes with backchannel, and does nothing until a test asks for a fixture.

By default only producers are recorded that are made during the test. A bot that makes its producer
when it is imported says ``backchannel_in_memory = true`` in its pytest configuration: then no
producer of the whole session sends anything to Kafka, but those that bring their own transport.
"""

from collections.abc import Iterator

import pytest

from backchannel.clock import ManualClock
from backchannel.producer import Producer
from backchannel.testing.recording import RecordedEvents, Recording

__all__ = ["backchannel_clock", "backchannel_events", "backchannel_producer"]

_SESSION = pytest.StashKey[Recording]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "backchannel_in_memory",
        "No backchannel producer of this session sends to Kafka: all record in memory.",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    # Before any test module, and with it the bot, is imported.
    if config.getini("backchannel_in_memory"):
        recording = Recording()
        config.stash[_SESSION] = recording
        recording.__enter__()


def pytest_unconfigure(config: pytest.Config) -> None:
    if (recording := config.stash.get(_SESSION, None)) is not None:
        recording.__exit__(None, None, None)


@pytest.fixture
def backchannel_recording(pytestconfig: pytest.Config) -> Iterator[Recording]:
    """The recording of the session, or else one of this test alone."""
    session = pytestconfig.stash.get(_SESSION, None)
    if session is not None:
        yield session
        return
    with Recording() as recording:
        yield recording


@pytest.fixture
def backchannel_events(backchannel_recording: Recording) -> RecordedEvents:
    """The typed events that the code under test emits, in order, and ``assert_no_loss()``."""
    return backchannel_recording.events()


@pytest.fixture
def backchannel_producer(backchannel_events: RecordedEvents) -> Iterator[Producer]:
    """A producer to hand to the code under test; what it takes is in ``backchannel_events``."""
    producer = Producer()
    yield producer
    producer.close_sync()


@pytest.fixture
def backchannel_clock(backchannel_recording: Recording) -> Iterator[ManualClock]:
    """The clock of all recorded producers, stopped: ``advance(seconds=…)`` moves it."""
    clock, before = ManualClock(), backchannel_recording.clock.clock
    backchannel_recording.clock.clock = clock
    yield clock
    backchannel_recording.clock.clock = before
