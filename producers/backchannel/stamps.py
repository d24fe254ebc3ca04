"""Fields that a producer, or a view of it, puts on every event that does not say its own."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from backchannel.events import Envelope, Event
from backchannel.repair import build

__all__ = ["Stamps"]

_OWN = ("event_id", "ts_us", "schema_version", "producer_id", "seq")
"""Fields of the envelope that belong to one event, so that they cannot be stamped on many."""
_KEYS = frozenset({"conversation_id", "session_id", "user_id", "tenant_id"})


class Stamps:
    """Bound envelope fields, ready as JSON. Immutable."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._fragments = tuple(
            (name, default, b'"%b":%b,' % (name.encode(), to_json(value)))
            for name, default, value in _set_fields(envelope)
        )
        self._any = bool(self._fragments)
        self._keys = any(name in _KEYS for name, _, _ in self._fragments)

    @classmethod
    def none(cls) -> "Stamps":
        """Returns stamps that put nothing on."""
        return cls(Envelope())

    def bind(self, fields: Mapping[str, Any]) -> tuple["Stamps", int]:
        """Returns these stamps with more fields, and how many fields could not be taken as given.

        Raises nothing: a field that is none of the envelope, or belongs to one event, is left out.
        """
        wanted = {name: value for name, value in fields.items() if name not in _OWN}
        bound = {name: value for name, _, value in _set_fields(self._envelope)}
        envelope, repaired = build(Envelope, {**bound, **wanted})
        return Stamps(envelope), repaired + len(fields) - len(wanted)

    def __bool__(self) -> bool:
        """Whether there is anything to put on."""
        return self._any

    def fragment(self, event: Event) -> bytes:
        """Returns the JSON of the fields that the event leaves at their default."""
        own = event.__dict__
        return b"".join(
            [fragment for name, default, fragment in self._fragments if own[name] == default]
        )

    def partition_key(self, event: Event) -> str:
        """Returns the key of the stamped event as ``events.partition_key`` would, but for the
        producer's id: that is empty here, since it is the same for all events of a producer."""
        if not self._keys:
            tenant_id = event.tenant_id
            return (
                event.conversation_id
                or event.session_id
                or event.user_id
                or ("" if tenant_id == "default" else tenant_id)
            )
        bound = self._envelope
        tenant_id = bound.tenant_id if event.tenant_id == "default" else event.tenant_id
        return (
            event.conversation_id
            or bound.conversation_id
            or event.session_id
            or bound.session_id
            or event.user_id
            or bound.user_id
            or ("" if tenant_id == "default" else tenant_id)
        )


def _set_fields(envelope: Envelope) -> list[tuple[str, Any, Any]]:
    """(name, default, value) of the fields that differ from their default."""
    found = []
    for name, field in Envelope.model_fields.items():
        value, default = getattr(envelope, name), field.get_default(call_default_factory=True)
        if name not in _OWN and value != default:
            found.append((name, default, value))
    return found
