"""Events to JSON, for the hot path: only what an event says is looked at, not what it leaves out.

An event has some sixty fields and says twenty. The contract's own ``encode_event`` compares all
sixty with their defaults; here the event's record of what was set does that, so a call touches a
third of the memory. That is what counts in a bot, where the caches are cold at every call.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from pydantic import ValidationError
from pydantic_core import SchemaSerializer, SchemaValidator, to_json
from pydantic_core.core_schema import CoreConfig

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Envelope, new_event_id

__all__ = ["Encoding", "Fields", "encoding_of"]

Fields = dict[str, Any]
"""What an event says: its fields by name, those with their default left out."""

_UNLIKE_ANY = object()
"""Stands for the default of a field that is never left out: an id, an instant."""


class Encoding:
    """How events of one type become fields, and fields become JSON. Immutable."""

    __slots__ = ("_check", "_checks", "_defaults", "_nested", "_required", "_validators", "json")

    json: Callable[[Fields], bytes]
    """Returns the JSON of checked fields.

    Raises:
        pydantic_core.PydanticSerializationError: a string can't be written as UTF-8.
    """

    def __init__(self, model: type[Envelope]) -> None:
        outer = _field_schemas(model)
        schemas = {name: _inner(schema) for name, schema in outer.items()}
        required = {name for name, schema in outer.items() if schema["type"] != "default"}
        self._defaults = {
            name: _UNLIKE_ANY
            if field.default_factory in (new_event_id, SYSTEM_CLOCK.now_us)
            else field.get_default(call_default_factory=True)
            for name, field in model.model_fields.items()
        }
        self._required = frozenset(required)
        self._check = _typed_dict_validator(schemas, required)
        # One for each field: few of them are given, and the one for all looks at every field.
        self._validators = {
            name: SchemaValidator(schema, CoreConfig(strict=True)).validate_python
            for name, schema in schemas.items()
        }
        # A dict can be changed after its event was made.
        self._checks = [
            (name, self._validators[name])
            for name, schema in schemas.items()
            if schema["type"] == "dict"
        ]
        self._nested = [n for n, schema in schemas.items() if "'type': 'model'" in repr(schema)]
        # Models inside an event leave out their own defaults: that takes the slower serializer.
        self.json = _typed_dict_serializer(schemas) if self._nested else to_json

    def said(self, event: Envelope) -> Fields:
        """Returns what an event says.

        Raises:
            pydantic.ValidationError: it was made past its constructor, or changed, and is none.
        """
        own, defaults = event.__dict__, self._defaults
        if event.__pydantic_extra__ is not None:  # the mark of model_construct
            return self.checked({name: own[name] for name in defaults if name in own})
        fields: Fields = {}
        for name in event.__pydantic_fields_set__:  # half the time of a comprehension here
            value = own[name]
            if value != defaults[name]:
                fields[name] = value
        fields["event_id"] = own["event_id"]
        fields["ts_us"] = own["ts_us"]
        for name, check in self._checks:
            if own[name]:
                fields[name] = check(own[name])
        for name in self._nested:
            for part in own[name]:
                if part.__pydantic_extra__ is not None:
                    type(part).model_validate(part.__dict__)
        return fields

    def checked(self, given: Fields) -> Fields:
        """Checks fields as the constructor would; returns what they say, with an id and a time.

        Raises:
            pydantic.ValidationError: they are no event of this type.
        """
        defaults, validators = self._defaults, self._validators
        fields: Fields = {}
        try:
            for name, value in given.items():
                valid = validators[name](value)
                if valid != defaults[name]:
                    fields[name] = valid
            whole = self._required.issubset(given)
        except (KeyError, ValidationError):
            whole = False
        if not whole:  # this tells every mistake at once
            valid_fields = self._check(given)
            fields = {n: value for n, value in valid_fields.items() if value != defaults[n]}
        if "event_id" not in fields:
            fields["event_id"] = new_event_id()
        if "ts_us" not in fields:
            fields["ts_us"] = SYSTEM_CLOCK.now_us()
        return fields


@cache
def encoding_of(model: type[Envelope]) -> Encoding:
    """Returns the encoding of one type of event: made once a process."""
    return Encoding(model)


# Any, from here on: a schema is a union of sixty typed dicts, and these are taken from valid ones.


def _field_schemas(model: type[Envelope]) -> dict[str, Any]:
    model.model_rebuild()  # it may be the first to be used: they are built late
    schema: Any = model.__pydantic_core_schema__
    assert schema["type"] == "model", "every event is a plain model"
    inner = schema["schema"]
    assert inner["type"] == "model-fields", "every event is a plain model"
    return {name: field["schema"] for name, field in inner["fields"].items()}


def _inner(schema: Any) -> Any:
    return schema["schema"] if schema["type"] == "default" else schema


def _typed_dict_validator(
    schemas: dict[str, Any], required: set[str]
) -> Callable[[Fields], Fields]:
    of_fields: Any = {
        "type": "typed-dict",
        "fields": {
            name: {"type": "typed-dict-field", "schema": schema, "required": name in required}
            for name, schema in schemas.items()
        },
        "extra_behavior": "forbid",
    }
    return partial(SchemaValidator(of_fields).validate_python, strict=True)


def _typed_dict_serializer(schemas: dict[str, Any]) -> Callable[[Fields], bytes]:
    of_fields: Any = {
        "type": "typed-dict",
        "fields": {
            name: {"type": "typed-dict-field", "schema": schema} for name, schema in schemas.items()
        },
    }
    to_bytes = SchemaSerializer(of_fields).to_json
    return partial(to_bytes, exclude_defaults=True, warnings="error")
