"""The fast encoding says exactly what the contract's own does."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backchannel import MemoryTransport, Producer
from backchannel.events import (
    COUNT_MAX,
    EVENT_TYPES,
    Accepted,
    Component,
    Document,
    Event,
    Interaction,
    Retrieval,
    encode_event,
    judge,
)
from backchannel.shaping.encoding import encoding_of

WIRE = Path(__file__).parents[3] / "wire"


def recorded_events() -> list[Event]:
    lines = json.loads((WIRE / "v1.json").read_text("utf-8"))["value"].split("\n")
    verdicts = [judge(line.encode()) for line in lines]
    return [verdict.event for verdict in verdicts if isinstance(verdict, Accepted)]


def said_by_the_contract(event: Event) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(encode_event(event))
    del said["event_type"]  # stands in front of what an event says
    return said


def test_every_type_of_event_is_recorded() -> None:
    assert {event.event_type for event in recorded_events()} == set(EVENT_TYPES)


@pytest.mark.parametrize("event", recorded_events(), ids=lambda event: event.event_type)
def test_full_events_are_encoded_as_the_contract_does(event: Event) -> None:
    encoding = encoding_of(type(event))

    assert json.loads(encoding.json(encoding.said(event))) == said_by_the_contract(event)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_events_with_defaults_are_encoded_as_the_contract_does(event_type: str) -> None:
    model = EVENT_TYPES[event_type]
    required: dict[str, Any] = {
        "kind": {"security": "k", "feedback": "thumb", "marker": "note"}.get(event_type),
        "outcome": "allowed",
        "name": "n",
        "subject": "user",
        "subject_key": "k",
        "requested_at_us": 1,
    }
    fields = {name: value for name, value in required.items() if name in model.model_fields}
    event = model(**fields)

    encoding = encoding_of(model)

    assert json.loads(encoding.json(encoding.said(event))) == said_by_the_contract(event)


@pytest.mark.parametrize("event", recorded_events(), ids=lambda event: event.event_type)
async def test_every_type_of_event_arrives_as_it_was(event: Event) -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport) as producer:
        assert producer.track(event)

    (found,) = transport.events()
    ours = {"producer_id": event.producer_id, "seq": event.seq}
    assert found.model_copy(update=ours) == event


@pytest.mark.parametrize("event", recorded_events(), ids=lambda event: event.event_type)
def test_fields_are_checked_as_the_constructor_does(event: Event) -> None:
    encoding = encoding_of(type(event))
    fields = {name: getattr(event, name) for name in type(event).model_fields}

    assert encoding.checked(fields) == encoding.said(event)


def test_a_field_that_says_its_default_is_left_out() -> None:
    encoding = encoding_of(Interaction)

    said = encoding.said(Interaction(tenant_id="default", error_message="", ttft_us=None))

    assert set(said) == {"event_id", "ts_us"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_tokens": "twelve"},
        {"input_tokens": -1},
        {"input_tokens": COUNT_MAX + 1},
        {"error_message": "x" * 5_000},
        {"unheard_of": 1},
        {"tags": ["a list"]},
    ],
    ids=str,
)
def test_fields_that_the_constructor_refuses_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        encoding_of(Interaction).checked(wrong)


@pytest.mark.parametrize(
    "wrong", [{"input_tokens": "twelve"}, {"input_tokens": 2**50}, {"model": "x" * 300}], ids=str
)
def test_an_event_made_past_its_constructor_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        encoding_of(Interaction).said(Interaction.model_construct(**wrong))


def test_a_document_made_past_its_constructor_is_checked() -> None:
    event = Retrieval(documents=(Document.model_construct(id="x" * 300),))

    with pytest.raises(ValidationError):
        encoding_of(Retrieval).said(event)


def test_a_dict_that_was_changed_after_its_event_was_made_is_checked() -> None:
    event = Interaction()
    event.attributes["note"] = "put in later"
    assert encoding_of(Interaction).said(event)["attributes"] == {"note": "put in later"}

    event.attributes["note"] = "x" * 2_000
    with pytest.raises(ValidationError):
        encoding_of(Interaction).said(event)


def test_a_field_that_is_missing_is_refused_however_the_event_is_made() -> None:
    with pytest.raises(ValidationError, match="name"):
        encoding_of(Component).checked({"duration_us": 1})
    with pytest.raises(ValidationError, match="name"):
        encoding_of(Component).said(Component.model_construct(duration_us=1))
