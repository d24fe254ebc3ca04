"""Who was erased: their rows are left out, however often Kafka or a bot sends them again."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from backchannel.events import Tombstone

__all__ = ["Tombstones"]

_NEEDLES_MAX = 50
"""Keys that a row is searched for before it is read; with more of them every row is read."""

_FIELDS = {
    # Where a row of any table names somebody.
    "user": ("user_id", "distinct_id", "principal_hash"),
    "tenant": ("tenant_id",),
    "conversation": ("conversation_id",),
}
_DEFAULT_TENANT = "default"

_PLACE = (
    # What ``erased_events`` keeps of an event, beside the id of the erasure.
    *("producer_id", "service", "seq", "_producer", "_pseq", "_origin"),
    *("_partition", "_offset", "_line", "_epoch", "_broker_time"),
)


class Tombstones:
    """Everybody who was erased, and when it was asked for. What happened later stays."""

    def __init__(self, erased: Iterable[Tombstone] = ()) -> None:
        self._newest: dict[tuple[str, str], tuple[int, str]] = {}
        """When the erasure of a subject was last asked for, and its id."""
        self._needles: tuple[bytes, ...] = ()
        self._read_all = False
        for each in erased:
            self.add(each)

    def __bool__(self) -> bool:
        return bool(self._newest)

    def add(self, tombstone: Tombstone) -> None:
        """Takes in one more; again is harmless."""
        for key in tombstone.keys:
            known = (tombstone.subject, key)
            asked = (tombstone.requested_at_us, tombstone.erasure_id)
            self._newest[known] = max(self._newest.get(known, asked), asked)
        self._needles = tuple({key.encode() for _, key in self._newest})
        self._read_all = len(self._needles) > _NEEDLES_MAX or (
            # What stands nowhere in a row: the wire leaves out what has its default.
            ("tenant", _DEFAULT_TENANT) in self._newest
        )

    def left_of(self, row: bytes) -> bytes | None:
        """Returns what of a row, as it goes into a table, may be stored: ``None`` for one of
        somebody who was erased, and of a dead letter everything but the line."""
        # Behind a backslash a name may be written in another way.
        if not (self._read_all or b"\\" in row or any(each in row for each in self._needles)):
            return row
        fields: dict[str, Any] = from_json(row)
        if "value_sha256" in fields:
            return self._of_letter(row, fields)
        return row if self._erasure_of(fields) is None else None

    def place_of(self, row: bytes) -> bytes | None:
        """Returns what is kept of an event that is left out: its numbers, as they go into
        ``erased_events``, so that nobody takes it for lost; ``None`` for a row of another table."""
        fields: dict[str, Any] = from_json(row)
        if "_producer" not in fields:
            return None
        place = {name: fields[name] for name in _PLACE if name in fields}
        return json.dumps({"erasure_id": self._erasure_of(fields), **place}).encode()

    def quoted_in(self, text: str, at_us: int) -> bool:
        """Says whether a line that could not be read, and came at ``at_us``, names somebody."""
        return any(
            at_us <= requested_us and json.dumps(key, ensure_ascii=False) in text
            for (_, key), (requested_us, _) in self._newest.items()
        )

    def _of_letter(self, row: bytes, fields: dict[str, Any]) -> bytes:
        if not self.quoted_in(fields["value"], round(fields["broker_time"] * 1e6)):
            return row
        return json.dumps({**fields, "value": ""}).encode()

    def _erasure_of(self, fields: dict[str, Any]) -> str | None:
        """Returns the id of the erasure that takes a row out."""
        if fields.get("event_type") == "erasure":
            return None  # who asked for it, and when, stays on record
        at_us = _time_us(fields)
        asked = (self._newest.get(each, (-1, "")) for each in _keys(fields))
        return next((erasure_id for until_us, erasure_id in asked if at_us <= until_us), None)


def _keys(fields: dict[str, Any]) -> Iterable[tuple[str, str]]:
    dims = fields.get("dims")
    if dims is not None:
        yield from dims.items()
        return
    for subject, names in _FIELDS.items():
        for name in names:
            default = _DEFAULT_TENANT if name == "tenant_id" else ""
            if key := fields.get(name, default):
                yield subject, key


def _time_us(fields: dict[str, Any]) -> int:
    """The earlier of when it happened and when the broker had it: a bot may send it late, and its
    clock may be wrong."""
    times = [round(fields["_broker_time"] * 1e6)] if "_broker_time" in fields else []
    if "window_start" in fields:
        times.append(fields["window_start"] * 1_000_000)
    instants = ("ts_us", "evaluated_at_us", "trigger_event_at_us", "started_at_us")
    times += [fields[name] for name in instants if name in fields]
    return min(times, default=0)
