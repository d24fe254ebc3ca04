"""Fields that a producer, or a view of it, puts on every event that does not say its own."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import to_json

from backchannel.events import Envelope
from backchannel.shaping.encoding import Fields, encoding_of
from backchannel.shaping.privacy import Privacy
from backchannel.shaping.repair import build

__all__ = ["Stamps"]

_OWN = ("event_id", "ts_us", "schema_version", "producer_id", "seq")
"""Fields of the envelope that belong to one event, so that they cannot be stamped on many."""
_KEYS = ("conversation_id", "session_id", "user_id", "tenant_id")
"""What keeps events together, the first that there is; the tenant named ``default`` is none."""


class Stamps:
    """Bound envelope fields, ready as JSON. Immutable."""

    def __init__(self, envelope: Envelope, privacy: Privacy) -> None:
        bound = _set_fields(envelope)
        privacy.pseudonymise(bound)
        privacy.mask(bound)
        self._bound = bound
        self._privacy = privacy
        self._fragments = tuple(
            (name, b'"%b":%b,' % (name.encode(), to_json(value))) for name, value in bound.items()
        )
        self._names = frozenset(bound)
        self._all = b"".join(part for _, part in self._fragments)
        self._keys = tuple((name, bound.get(name, "")) for name in _KEYS)

    @classmethod
    def none(cls, privacy: Privacy | None = None) -> "Stamps":
        """Returns stamps that put nothing on. What is bound to them later passes ``privacy``."""
        return cls(Envelope(), privacy or Privacy())

    def bind(self, fields: Mapping[str, Any]) -> tuple["Stamps", int]:
        """Returns these stamps with more fields, and how many fields could not be taken as given.

        Raises nothing: a field that is none of the envelope, or belongs to one event, is left out.
        """
        wanted = {name: value for name, value in fields.items() if name not in _OWN}
        envelope, repaired = build(Envelope, {**self._bound, **wanted})
        return Stamps(envelope, self._privacy), repaired + len(fields) - len(wanted)

    def fields(self) -> Fields:
        """Returns the fields that are put on, by name."""
        return dict(self._bound)

    def fragment(self, fields: Fields) -> bytes:
        """Returns the JSON of the stamps that an event, which says these fields, does not say."""
        if fields.keys().isdisjoint(self._names):
            return self._all
        return b"".join([part for name, part in self._fragments if name not in fields])

    def partition_key(self, fields: Fields) -> str:
        """Returns the key of the stamped event as ``events.partition_key`` would, but for the
        producer's id: that is empty here, since it is the same for all events of a producer."""
        for name, bound in self._keys:
            key: str = fields.get(name) or bound
            if key:
                return key
        return ""

    def first(self, names: Iterable[str], fields: Fields) -> str:
        """Returns the first of these fields that the stamped event has; empty if it has none."""
        bound = self._bound
        for name in names:
            value: str = fields.get(name) or bound.get(name, "")
            if value:
                return value
        return ""

    def value(self, name: str, fields: Fields, default: Any) -> Any:
        """Returns what the stamped event says in that field."""
        return fields.get(name, self._bound.get(name, default))


def _set_fields(envelope: Envelope) -> Fields:
    """The fields that differ from their default."""
    fields = encoding_of(Envelope).said(envelope)
    return {name: value for name, value in fields.items() if name not in _OWN}
