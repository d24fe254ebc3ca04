"""What does not fit an event is cut or left out, in a time that its size bounds."""

import json
import re

from backchannel.events import EVENT_TYPES, Interaction
from backchannel.shaping.repair import ITEMS_MAX, build


def test_a_hundred_thousand_misfits_in_a_field_are_cut_before_they_are_looked_at() -> None:
    # One after the other they would take hours: each look makes the whole list anew.
    event, repaired = build(
        Interaction,
        {
            "tags": ["t" * 300] * 100_000,
            "attributes": {f"k{number}": number for number in range(100_000)},
            "conversation_id": "c",
        },
    )

    assert repaired == 2
    assert event.conversation_id == "c"
    assert event.tags == ("t" * 256,) * 64
    assert event.attributes == {}


def test_no_list_and_no_dict_of_an_event_may_hold_more_than_repair_keeps() -> None:
    schemas = json.dumps([model.model_json_schema() for model in EVENT_TYPES.values()])

    bounds = {int(most) for most in re.findall(r'"max(?:Items|Properties)": (\d+)', schemas)}

    assert max(bounds) == ITEMS_MAX
    assert len(re.findall(r'"type": "array"', schemas)) == schemas.count('"maxItems"')
