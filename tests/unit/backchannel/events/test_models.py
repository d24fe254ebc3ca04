"""The models: strict constructors, defaults that hold, ids that sort."""

import re

import pytest
from pydantic import ValidationError

from backchannel.events import EVENT_TYPES, Feedback, Interaction, new_event_id


@pytest.mark.parametrize(
    "fields",
    [{"input_tokens": "12"}, {"input_tokens": 1.5}, {"no_such_field": 1}, {"sample_weight": 0}],
)
def test_a_constructor_is_strict(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Interaction.model_validate(fields)


def test_an_event_is_frozen() -> None:
    event = Interaction()

    with pytest.raises(ValidationError):
        event.user_id = "other"


def test_required_fields_are_asked_for() -> None:
    with pytest.raises(ValidationError, match="kind"):
        Feedback.model_validate({})


def test_event_ids_are_uuid_version_7_and_sort_by_time() -> None:
    first, second = new_event_id(), new_event_id()

    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first
    )
    assert first != second
    assert first[:13] <= second[:13]


def test_one_name_means_one_type_in_every_event() -> None:
    """All types share one wide table: a field that two of them have is one column."""
    seen: dict[str, tuple[str, object]] = {}
    for name, model in EVENT_TYPES.items():
        for field, info in model.model_fields.items():
            if field in ("event_type", "status", "kind", "source"):
                continue  # closed sets of words, each a string in the table
            kind = str(info.annotation).replace(" | None", "")
            assert seen.setdefault(field, (kind, name))[0] == kind, (field, name, seen[field])


def test_a_copy_is_checked_as_the_constructor_does_and_keeps_its_id() -> None:
    event = Interaction(user_id="u")

    assert event.model_copy(update={"input_tokens": 3}).event_id == event.event_id
    with pytest.raises(ValidationError):
        event.model_copy(update={"input_tokens": 2**70})
