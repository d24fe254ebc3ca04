"""Who is to be forgotten, and which rows are theirs. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from backchannel.shaping.pseudonyms import Pseudonyms

__all__ = ["Removal", "Subject", "removals", "user_keys"]

SubjectKind = Literal["user", "tenant", "conversation"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody, by every name that events may have."""

    kind: SubjectKind
    keys: tuple[str, ...]

    def erasure_id(self, requested_at_us: int) -> str:
        """Returns the name of an erasure of it; it says nothing of who it is."""
        told = "\0".join((self.kind, *self.keys, str(requested_at_us)))
        return hashlib.sha256(told.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Removal:
    """What of a table goes: a condition with the parameters ``keys`` and ``until_us``."""

    table: str
    where: str
    blanked: str = ""
    """The column that is emptied instead: the row itself names nobody."""


def user_keys(user_id: str, keys: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the names that a user has in events: the plain id, and its pseudonym under each of
    the keys ({name: key}; the empty name stands for one that follows from the key)."""
    pseudonyms = [Pseudonyms(key, key_id).of(user_id) for key_id, key in keys.items() if key]
    return tuple(dict.fromkeys((user_id, *pseudonyms)))


_EVENT_FIELDS = {
    "user": ("user_id", "distinct_id", "principal_hash"),
    "tenant": ("tenant_id",),
    "conversation": ("conversation_id",),
}
_CONTENT_FIELDS = {"user": "user_id", "tenant": "tenant_id", "conversation": "conversation_id"}
_KEYS = "{keys:Array(String)}"
_UNTIL = "{until_us:Int64}"
_HAPPENED = f"least(ts_us, toUnixTimestamp64Milli(_broker_time) * 1000) <= {_UNTIL}"


def removals(kind: SubjectKind) -> tuple[Removal, ...]:
    """Returns what goes, from every table that may name a subject of this kind. What happened after
    it was asked for stays, and so does the record that somebody asked."""
    named = _any_of(_EVENT_FIELDS[kind])
    found = [
        # Before the events: of a user's conversations only they know whose they were.
        Removal("conversations", f"{_of_conversations(kind)} AND started_at_us <= {_UNTIL}"),
        Removal("events", f"event_type != 'erasure' AND ({named}) AND {_HAPPENED}"),
        Removal("content", f"has({_KEYS}, toString({_CONTENT_FIELDS[kind]})) AND {_HAPPENED}"),
        Removal(
            "dead_letters",
            f"""arrayExists(key -> position(value, concat('"', key, '"')) > 0, {_KEYS})
            AND toUnixTimestamp64Milli(broker_time) * 1000 <= {_UNTIL}""",
            blanked="value",
        ),
    ]
    if kind != "conversation":
        of_series = f"has({_KEYS}, dims['{kind}'])"
        begun = f"toInt64(toUnixTimestamp(window_start)) * 1000000 <= {_UNTIL}"
        found += [
            Removal("metric_windows", f"{of_series} AND {begun}"),
            Removal(
                "alerts",
                f"{of_series} AND least(evaluated_at_us, trigger_event_at_us) <= {_UNTIL}",
            ),
        ]
    if kind == "tenant":
        found.append(Removal("erased_windows", f"has({_KEYS}, dims['tenant'])"))
    return tuple(found)


def _of_conversations(kind: SubjectKind) -> str:
    if kind != "user":
        return f"has({_KEYS}, toString({_CONTENT_FIELDS[kind]}))"
    return f"""(tenant_id, conversation_id) IN (SELECT tenant_id, conversation_id FROM events
        WHERE conversation_id != '' AND has({_KEYS}, user_id) AND {_HAPPENED})"""  # noqa: S608 -- of our own making


def _any_of(fields: Iterable[str]) -> str:
    return " OR ".join(f"has({_KEYS}, toString({name}))" for name in fields)
