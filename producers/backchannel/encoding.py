"""Events to JSON in half the time: the same bytes as ``events.encode_event``, for the hot path."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from pydantic_core import SchemaSerializer

from backchannel.events import Envelope

__all__ = ["Encode", "encoder"]

Encode = Callable[[dict[str, Any]], bytes]
"""Takes the fields of an event (its ``__dict__``) and returns its JSON, defaults left out.

Raises:
    pydantic_core.PydanticSerializationError: a value has a wrong type: the event was made past its
        constructor.
"""


@cache
def encoder(model: type[Envelope]) -> Encode:
    """Returns the encoder of one type of event.

    A model's own serializer calls every default factory to see whether a field has its default:
    for each event it makes a new id and asks the clock, only to find that the event has others.
    This one is built from the model's schema, without those factories.
    """
    schema = model.__pydantic_core_schema__
    assert schema["type"] == "model", "every event is a plain model"
    inner = schema["schema"]
    assert inner["type"] == "model-fields", "every event is a plain model"
    fields = {
        name: {"type": "typed-dict-field", "schema": _without_factory(field["schema"])}
        for name, field in inner["fields"].items()
    }
    # Any: a schema is a union of sixty typed dicts, and this one is taken from a valid one.
    of_fields: Any = {"type": "typed-dict", "fields": fields}
    to_json = SchemaSerializer(of_fields).to_json
    return partial(to_json, exclude_defaults=True, warnings="error")


def _without_factory(schema: Any) -> Any:
    if schema["type"] != "default" or "default_factory" not in schema:
        return schema
    if schema["default_factory"] is dict:  # always the same, so it can be a plain default
        return {"type": "default", "schema": schema["schema"], "default": {}}
    return schema["schema"]  # an id, an instant: never left out
