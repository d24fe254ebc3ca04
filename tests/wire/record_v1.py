"""Writes ``v1.json``: a sealed batch with one full event of every type, as this version encodes it.

Run once a schema version, never again: what was recorded must decode for ever.
    python tests/wire/record_v1.py > tests/wire/v1.json
"""

import json
import sys
import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from backchannel.events import EVENT_TYPES, Document, Event, encode_event, seal


def full(model: type[Event]) -> Event:
    """An event with a value in every field, none of them the default."""
    return model.model_validate(
        {name: _value(name, info) for name, info in model.model_fields.items()}
    )


def _value(name: str, info: FieldInfo) -> Any:
    match name:
        case "event_id":
            return "018bcfe5-6800-7000-8000-00000000002a"
        case "event_type" | "schema_version":
            return info.default
        case "ts_us" | "requested_at_us":
            return 1_700_000_000_123_456
        case "documents":
            return (Document(id="doc-1", score=912_345, rank=1, source="faq"),)
    return _of_type(info.annotation, info.default)


def _of_type(annotation: Any, default: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Literal:
        return next(word for word in get_args(annotation) if word and word != default)
    if origin in (Union, types.UnionType):
        return _of_type(next(a for a in get_args(annotation) if a is not type(None)), default)
    if hasattr(annotation, "__metadata__"):
        return _of_type(annotation.__origin__, default)
    if origin is tuple:
        return ("one", "zwei")
    if origin is dict:
        return {"name": _of_type(get_args(annotation)[1], None)}
    return {str: "text ü 🙂", int: 7, bool: default is not True}[annotation]


def main() -> None:
    lines = [encode_event(full(model)) for model in EVENT_TYPES.values()]
    batch = seal(lines, producer_id="recorder-1", pseq=1)
    record = {
        "headers": {key: raw.decode() for key, raw in batch.headers},
        "value": batch.value.decode(),
    }
    json.dump(record, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
