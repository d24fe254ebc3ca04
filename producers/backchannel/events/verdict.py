"""The one verdict on whether a line is an event.

Sink and processors both ask it, so that a line becomes a row exactly when it is counted.
ClickHouse is no judge: it stores bad UTF-8, takes a missing field for its default, ``"12"`` for 12,
``null`` for 0 and two objects on one line for two rows.
"""

from dataclasses import dataclass
from functools import cache

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from backchannel.events.event import EVENT_TYPES, AnyEvent, Event
from backchannel.events.turns import Document, Retrieval

__all__ = ["LINE_BYTES_MAX", "Accepted", "Rejected", "judge"]

LINE_BYTES_MAX = 256 * 1024
"""Largest event in bytes of JSON."""

_MISTAKES_TOLD = 3
_NIL = "00000000-0000-0000-0000-000000000000"
_KNOWN_KEYS = frozenset(Document.model_fields)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The line is an event."""

    event: Event
    unknown_fields: int
    """Fields that this reader does not know and left out: a later minor version wrote them."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The line is not an event."""

    reason: str
    """Why, for a person; never holds a value out of the line."""


def judge(line: bytes) -> Accepted | Rejected:
    """Says whether one line of a record is an event, and if not, why.

    Tolerant where the schema may grow (unknown fields are left out and counted), strict in all
    else: types are never converted, required fields never made up, numbers have bounds. Of a key
    that stands twice the last one counts. A pure function of the bytes; raises nothing.
    """
    if len(line) > LINE_BYTES_MAX:
        return Rejected(f"the line has {len(line)} bytes, the limit is {LINE_BYTES_MAX}")
    if not line.strip():
        return Rejected("the line is empty")
    try:
        event = _adapter().validate_json(line, extra="allow")
        unknown = _unknown_fields(event)
        if unknown:
            event = _adapter().validate_json(line, extra="ignore")
    except ValidationError as error:
        return Rejected(_reason(error))
    # A constructor makes these two up; a reader must not: it would read the same bytes differently
    # each time.
    missing = [name for name in ("event_id", "ts_us") if name not in event.model_fields_set]
    if missing:
        return Rejected("; ".join(f"missing field: {name}" for name in missing))
    if event.event_id == _NIL:
        return Rejected("event_id: the nil UUID names nothing")
    return Accepted(event, unknown)


@cache
def _adapter() -> TypeAdapter[Event]:
    return TypeAdapter(AnyEvent)


def _unknown_fields(event: Event) -> int:
    count = len(event.model_extra or ())
    if isinstance(event, Retrieval):
        count += sum(len(document.model_extra or ()) for document in event.documents)
    return count


def _reason(error: ValidationError) -> str:
    """Words the first mistakes without the values: those may be somebody's secret."""
    mistakes = error.errors(include_url=False, include_context=False, include_input=False)
    told = "; ".join(_mistake(mistake) for mistake in mistakes[:_MISTAKES_TOLD])
    untold = len(mistakes) - _MISTAKES_TOLD
    return f"{told}; and {untold} more" if untold > 0 else told


def _mistake(mistake: ErrorDetails) -> str:
    match mistake["type"]:
        case "json_invalid":
            return mistake["msg"].replace("Invalid JSON", "not JSON")
        case "dict_type" | "model_attributes_type" if not mistake["loc"]:
            return "not a JSON object"
        case "union_tag_not_found":
            return "missing field: event_type"
        case "union_tag_invalid":
            return f"unknown event_type: known are {', '.join(EVENT_TYPES)}"
    field = ".".join(_field_path(mistake["loc"]))
    if mistake["type"] == "missing":
        return f"missing field: {field}"
    return f"{field}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}"


def _field_path(loc: tuple[int | str, ...]) -> list[str]:
    """The place of a mistake, without the event type in front and without keys that a writer chose
    (the names in ``attributes`` may be personal): those are shown as ``*``."""
    path = [str(part) for part in loc[1:2]]
    path += [str(part) if isinstance(part, int) or part in _KNOWN_KEYS else "*" for part in loc[2:]]
    return path
