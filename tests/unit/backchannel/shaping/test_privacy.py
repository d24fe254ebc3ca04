"""What an event loses on its way out, whichever way it came in."""

from typing import Any

import pytest

from backchannel import MemoryTransport, Producer, SettingsError
from backchannel.events import (
    Erasure,
    ErrorEvent,
    Event,
    Feedback,
    Interaction,
    Product,
    Security,
    partition_of,
)
from backchannel.shaping.privacy import FREE_TEXT
from backchannel.shaping.pseudonyms import Pseudonyms

KEY = "a key of a bot that nobody knows"
TEXT = "mail jane@example.org"
MASKED = "mail [email]"


def sent(event: Event, **settings: Any) -> Any:
    transport = MemoryTransport()
    producer = Producer(transport=transport, health_interval_s=0, **settings)
    assert producer.track(event)
    assert producer.close_sync() == 0
    (found,) = transport.events()
    return found


def test_every_field_for_free_text_is_known() -> None:
    assert set(FREE_TEXT) >= {
        "attributes",
        "comment",
        "detail",
        "error_message",
        "explanation",
        "message",
        "properties",
        "stacktrace",
        "url",
    }


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Interaction(error_message=TEXT), "error_message"),
        (ErrorEvent(message=TEXT), "message"),
        (ErrorEvent(stacktrace=TEXT), "stacktrace"),
        (Feedback(kind="comment", comment=TEXT), "comment"),
        (Security(kind="login", outcome="blocked", detail=TEXT), "detail"),
        (Product(name="page", url=TEXT), "url"),
    ],
    ids=lambda each: str(each) if isinstance(each, str) else "",
)
def test_free_text_is_masked_by_default(event: Event, name: str) -> None:
    assert getattr(sent(event), name) == MASKED


def test_the_values_of_free_facts_are_masked() -> None:
    event = sent(Product(name="page", attributes={"a": TEXT}, properties={"p": TEXT}))

    assert (event.attributes, event.properties) == ({"a": MASKED}, {"p": MASKED})


def test_names_and_ids_stay_as_they_are() -> None:
    event = sent(Interaction(conversation_id="jane@example.org", model="m@example.org"))

    assert (event.conversation_id, event.model) == ("jane@example.org", "m@example.org")


def test_the_event_in_the_bots_hand_does_not_change() -> None:
    event = Interaction(error_message=TEXT, attributes={"a": TEXT}, user_id="jane")

    sent(event, user_id_key=KEY)

    assert (event.error_message, event.attributes, event.user_id) == (TEXT, {"a": TEXT}, "jane")


def test_masking_can_be_switched_off() -> None:
    assert sent(Interaction(error_message=TEXT), masking=False).error_message == TEXT


def test_a_turn_and_what_is_bound_to_a_producer_are_masked_too() -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport, health_interval_s=0)
    bound = producer.bind(attributes={"a": TEXT})

    with bound.interaction(error_message=TEXT):
        pass

    assert producer.close_sync() == 0
    (event,) = transport.events()
    assert isinstance(event, Interaction)
    assert (event.error_message, event.attributes) == (MASKED, {"a": MASKED})


def test_an_own_hook_sees_the_text_after_the_patterns() -> None:
    event = sent(Interaction(error_message=TEXT), mask=lambda text: f"<{text.upper()}>")

    assert event.error_message == "<MAIL [EMAIL]>"


def test_a_mask_that_is_longer_than_the_field_is_cut() -> None:
    event = sent(Interaction(error_message="x"), mask=lambda text: text * 10_000)

    assert len(event.error_message) == FREE_TEXT["error_message"]


@pytest.mark.parametrize("answer", [None, 3, b"bytes", "\ud800"], ids=repr)
def test_a_hook_that_answers_no_text_loses_the_text(answer: Any) -> None:
    assert sent(Interaction(error_message="x"), mask=lambda text: answer).error_message == ""


def test_a_hook_that_fails_loses_the_text_keeps_the_numbers_and_is_counted() -> None:
    def failing(text: str) -> str:
        raise RuntimeError(text)

    transport = MemoryTransport()
    producer = Producer(transport=transport, health_interval_s=0, mask=failing)

    producer.track(Interaction(error_message=TEXT, attributes={"a": TEXT}, input_tokens=7))

    assert producer.close_sync() == 0
    (event,) = transport.events()
    assert isinstance(event, Interaction)
    assert (event.error_message, event.attributes, event.input_tokens) == ("", {}, 7)
    assert producer.stats().masking_failures == 2


def test_with_a_key_ids_of_people_are_pseudonyms() -> None:
    of = Pseudonyms(KEY).of

    assert sent(Interaction(user_id="jane"), user_id_key=KEY).user_id == of("jane")
    assert sent(Product(name="n", distinct_id="d"), user_id_key=KEY).distinct_id == of("d")
    security = Security(kind="k", outcome="allowed", principal_hash="p", source_ip_hash="i")
    found = sent(security, user_id_key=KEY)
    assert (found.principal_hash, found.source_ip_hash) == (of("p"), of("i"))


@pytest.mark.parametrize(("subject", "hashed"), [("user", True), ("conversation", False)])
def test_an_erasure_names_a_user_as_the_events_do(subject: Any, hashed: bool) -> None:
    event = Erasure(subject=subject, subject_key="jane", requested_at_us=1)

    found = sent(event, user_id_key=KEY).subject_key

    assert found == (Pseudonyms(KEY).of("jane") if hashed else "jane")


def test_a_user_that_is_bound_and_one_on_the_event_have_the_same_pseudonym() -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport, health_interval_s=0, user_id_key=KEY)

    producer.track(Interaction(user_id="jane"))
    producer.bind(user_id="jane").bind(channel="web").track(Interaction())

    assert producer.close_sync() == 0
    assert {event.user_id for event in transport.events()} == {Pseudonyms(KEY).of("jane")}


def test_the_partition_follows_from_the_pseudonym() -> None:
    transport = MemoryTransport(12)
    producer = Producer(transport=transport, health_interval_s=0, user_id_key=KEY)

    producer.track(Interaction(user_id="jane"))

    assert producer.close_sync() == 0
    (partition,) = [number for number, records in enumerate(transport.records) if records]
    assert partition == partition_of(Pseudonyms(KEY).of("jane"), 12)


def test_a_pseudonym_names_its_key_and_stays_as_it_is() -> None:
    pseudonyms = Pseudonyms(KEY, "2026-11")
    once = pseudonyms.of("jane")

    assert once.startswith("hmac:2026-11:")
    assert pseudonyms.of(once) == once
    assert once != pseudonyms.of("john") != Pseudonyms("another key of a bot").of("john")


def test_without_an_id_a_key_has_one_that_follows_from_it() -> None:
    assert Pseudonyms(KEY).key_id == Pseudonyms(KEY).key_id != Pseudonyms(KEY + "x").key_id


@pytest.mark.parametrize("wrong", [{"user_id_key": "short"}, {"user_id_key_id": "a:b"}], ids=str)
def test_a_key_that_cannot_be_used_is_told_and_not_shown(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as told:
        Producer("k:1", **wrong)

    assert "short" not in str(told.value)
