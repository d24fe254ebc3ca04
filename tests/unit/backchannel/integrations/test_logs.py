"""Log records as events: which, with what, and never in a circle."""

import logging
from collections.abc import Iterator

import pytest

from backchannel.events import ErrorEvent
from backchannel.integrations.logs import BackchannelHandler
from backchannel.producer import Producer
from backchannel.testing import RecordedEvents


def an_error(text: str, *arguments: object, name: str = "bot") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "bot.py", 1, text, arguments, None)


@pytest.fixture
def log(backchannel_producer: Producer) -> Iterator[logging.Logger]:
    handler = BackchannelHandler(backchannel_producer)
    logger = logging.getLogger("bot.answers")
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def test_a_warning_is_an_error_event_with_its_logger(
    log: logging.Logger, backchannel_events: RecordedEvents
) -> None:
    log.warning("index %s is %d days old", "faq", 9)

    event = backchannel_events.one(ErrorEvent)
    assert (event.level, event.component) == ("warning", "bot.answers")
    assert event.message == "index faq is 9 days old"
    backchannel_events.assert_no_loss()


@pytest.mark.parametrize(
    ("number", "level"),
    [(logging.WARNING, "warning"), (logging.ERROR, "error"), (logging.CRITICAL, "fatal")],
)
def test_levels_are_those_of_the_contract(
    log: logging.Logger, backchannel_events: RecordedEvents, number: int, level: str
) -> None:
    log.log(number, "so it is")

    assert backchannel_events.one(ErrorEvent).level == level


def test_what_is_below_the_level_is_left_out(
    log: logging.Logger, backchannel_events: RecordedEvents
) -> None:
    log.setLevel(logging.DEBUG)
    log.info("all is well")

    assert len(backchannel_events) == 0


def test_another_level_may_be_asked_for(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    handler = BackchannelHandler(backchannel_producer, "INFO")
    record = logging.LogRecord("bot", logging.INFO, "bot.py", 1, "started", (), None)

    assert handler.level <= record.levelno
    handler.handle(record)
    assert backchannel_events.one(ErrorEvent).level == "info"


def test_an_exception_brings_its_stack(
    log: logging.Logger, backchannel_events: RecordedEvents
) -> None:
    try:
        raise LookupError("no such customer")
    except LookupError:
        log.exception("could not answer")

    event = backchannel_events.one(ErrorEvent)
    assert (event.exception_type, event.message) == ("LookupError", "could not answer")
    assert "no such customer" in event.stacktrace


def test_records_that_differ_in_their_arguments_alone_are_one_group(
    log: logging.Logger, backchannel_events: RecordedEvents
) -> None:
    for customer in ("ana", "bo"):
        log.error("no answer for %s", customer)
    log.error("something else")

    first, second, other = [event.fingerprint for event in backchannel_events.of(ErrorEvent)]
    assert first == second != other


def test_inside_a_turn_it_belongs_to_the_turn(
    log: logging.Logger, backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    with backchannel_producer.interaction(conversation_id="c-1"):
        log.warning("slow")

    assert backchannel_events.one(ErrorEvent).conversation_id == "c-1"


@pytest.mark.parametrize("name", ["backchannel", "aiokafka", "aiokafka.conn"])
def test_our_own_loggers_and_the_kafka_clients_are_left_out(
    backchannel_producer: Producer, backchannel_events: RecordedEvents, name: str
) -> None:
    BackchannelHandler(backchannel_producer).handle(an_error("gone", name=name))

    assert len(backchannel_events) == 0


def test_what_is_logged_while_a_record_is_told_brings_no_further_one(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    handler = BackchannelHandler(backchannel_producer)

    class Chatty:
        def __str__(self) -> str:
            handler.handle(an_error("while the text is made"))
            return "chatty"

    handler.handle(an_error("%s", Chatty()))

    assert backchannel_events.one(ErrorEvent).message == "chatty"


def test_a_record_whose_text_cannot_be_made_is_told_as_such_and_prints_nothing(
    backchannel_producer: Producer,
    backchannel_events: RecordedEvents,
    capsys: pytest.CaptureFixture[str],
) -> None:
    BackchannelHandler(backchannel_producer).handle(an_error("%d", "not a number"))

    assert "could not be made" in backchannel_events.one(ErrorEvent).message
    assert capsys.readouterr() == ("", "")


def test_secrets_in_a_text_are_masked(
    log: logging.Logger, backchannel_events: RecordedEvents
) -> None:
    log.error("the key sk-abcdefghijklmnopqrstuvwxyz0123456789ABCD of ana@example.com is refused")

    message = backchannel_events.one(ErrorEvent).message
    assert "sk-abc" not in message
    assert "ana@example.com" not in message
