"""The hook inside a real Sentry SDK, whose own transport is a list."""

from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from backchannel.events import ErrorEvent, Interaction
from backchannel.integrations.sentry import before_send
from backchannel.producer import Producer
from backchannel.testing import RecordedEvents


class Kept(Transport):
    """Where Sentry's envelopes go in place of the network."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events.append(envelope.get_event())


@pytest.fixture
def sentry() -> Iterator[Kept]:
    yield Kept()
    sentry_sdk.get_global_scope().set_client(None)


def init(sentry: Kept, producer: Producer, **options: Any) -> None:
    hook = before_send(producer, options.pop("then", None))
    sentry_sdk.init(
        "http://key@localhost/1",
        transport=sentry,
        before_send=hook,
        default_integrations=False,
        environment="staging",
        release="bot@1.4",
        **options,
    )


def divide(secret_of_the_user: str) -> None:
    1 / 0  # noqa: B018


def fail() -> None:
    try:
        divide("canary-in-a-variable")
    except ZeroDivisionError:
        sentry_sdk.capture_exception()


def test_an_exception_is_an_error_event_and_sentrys_too(
    sentry: Kept, backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    init(sentry, backchannel_producer)
    fail()

    error = backchannel_events.one(ErrorEvent)
    assert (error.exception_type, error.message) == ("ZeroDivisionError", "division by zero")
    assert (error.level, error.environment, error.service_version) == (
        "error",
        "staging",
        "bot@1.4",
    )
    assert error.attributes["sentry_event_id"] == sentry.events[0]["event_id"]
    backchannel_events.assert_no_loss()


def test_the_stack_has_lines_of_code_and_no_variables(
    sentry: Kept, backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    init(sentry, backchannel_producer)
    fail()

    stack = backchannel_events.one(ErrorEvent).stacktrace
    assert ", in fail\n" in stack
    assert "    1 / 0" in stack
    assert stack.endswith("ZeroDivisionError: division by zero")
    assert "canary-in-a-variable" in str(sentry.events)
    assert "canary-in-a-variable" not in stack.replace('divide("canary-in-a-variable")', "")


def test_the_fingerprint_is_that_of_capture_exception_unless_the_bot_chose_one(
    sentry: Kept, backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    init(sentry, backchannel_producer)
    try:
        divide("")
    except ZeroDivisionError as error:
        backchannel_producer.capture_exception(error)
        sentry_sdk.capture_exception(error)
        with sentry_sdk.new_scope() as scope:
            scope.fingerprint = ["of-my-own"]
            sentry_sdk.capture_exception(error)

    ours, theirs, chosen = [each.fingerprint for each in backchannel_events.of(ErrorEvent)]
    assert ours == theirs != ""
    assert chosen not in ("", ours)


def test_a_message_is_told_with_its_level(
    sentry: Kept, backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    init(sentry, backchannel_producer)
    sentry_sdk.capture_message("the index is stale", "warning")

    error = backchannel_events.one(ErrorEvent)
    assert (error.message, error.level, error.stacktrace) == ("the index is stale", "warning", "")


def test_inside_a_turn_it_belongs_to_the_turn(
    sentry: Kept, backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    init(sentry, backchannel_producer)
    with backchannel_producer.interaction(conversation_id="c-1"):
        fail()

    error, turn = backchannel_events.one(ErrorEvent), backchannel_events.one(Interaction)
    assert (error.conversation_id, error.trace_id) == ("c-1", turn.trace_id)


def test_what_the_bots_own_hook_drops_is_dropped(
    sentry: Kept, backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    init(sentry, backchannel_producer, then=lambda event, hint: None)
    fail()

    assert (len(backchannel_events), sentry.events) == (0, [])


def test_what_the_bots_own_hook_takes_out_is_not_told(
    sentry: Kept, backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    def scrubbed(event: Any, hint: Any) -> Any:
        event["exception"]["values"][-1]["value"] = "[removed]"
        return event

    init(sentry, backchannel_producer, then=scrubbed)
    fail()

    assert backchannel_events.one(ErrorEvent).message == "[removed]"
    assert sentry.events[0]["exception"]["values"][-1]["value"] == "[removed]"


def test_an_event_of_another_shape_is_counted_and_reaches_sentry(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    odd: Any = {"exception": "not what it should be"}

    assert before_send(backchannel_producer)(odd, {}) is odd
    assert backchannel_events.one(ErrorEvent).message == "an event of Sentry that could not be read"
