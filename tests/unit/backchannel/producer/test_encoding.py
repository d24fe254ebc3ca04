"""The fast encoder writes exactly what the contract's own does."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticSerializationError

from backchannel import MemoryTransport, Producer
from backchannel.encoding import encoder
from backchannel.events import EVENT_TYPES, Accepted, Event, Interaction, encode_event, judge

WIRE = Path(__file__).parents[3] / "wire"


def recorded_events() -> list[Event]:
    lines = json.loads((WIRE / "v1.json").read_text("utf-8"))["value"].split("\n")
    verdicts = [judge(line.encode()) for line in lines]
    return [verdict.event for verdict in verdicts if isinstance(verdict, Accepted)]


def test_every_type_of_event_is_recorded() -> None:
    assert {event.event_type for event in recorded_events()} == set(EVENT_TYPES)


@pytest.mark.parametrize("event", recorded_events(), ids=lambda event: event.event_type)
def test_full_events_are_encoded_as_the_contract_does(event: Event) -> None:
    body = encoder(type(event))(event.__dict__)

    assert b'{"event_type":"%b",%b' % (event.event_type.encode(), body[1:]) == encode_event(event)


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

    body = encoder(model)(event.__dict__)

    assert b'{"event_type":"%b",%b' % (event_type.encode(), body[1:]) == encode_event(event)


@pytest.mark.parametrize("event", recorded_events(), ids=lambda event: event.event_type)
async def test_every_type_of_event_arrives_as_it_was(event: Event) -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport) as producer:
        assert producer.track(event)

    (found,) = transport.events()
    ours = {"producer_id": event.producer_id, "seq": event.seq}
    assert found.model_copy(update=ours) == event


def test_a_wrong_type_is_an_error() -> None:
    wrong: Any = "twelve"

    with pytest.raises(PydanticSerializationError):
        encoder(Interaction)(Interaction.model_construct(input_tokens=wrong).__dict__)
