"""What is stored of whom, for what, and for how long: from the models, topics and tables.

Every field has a class. What no rule below names is a measure or a technical fact: by itself it
leads to nobody.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from backchannel.events import EVENT_TYPES
from backchannel.events.topics import ALERTS, CONTENT, DEAD, EVENTS, METRICS, Topic
from backchannel.shaping.privacy import FREE_TEXT, IDENTITIES
from backchannel_sinks.clickhouse.migrate import migrations, statements

__all__ = ["Class", "Entry", "Place", "data_map"]


class Class(StrEnum):
    """What a field may say of a person."""

    PERSON = "names a person"
    LINK = "leads to a person"
    TEXT = "free text"
    CUSTOMER = "names a customer"
    FACT = "fact"


@dataclass(frozen=True, slots=True)
class Entry:
    """One field."""

    name: str
    purpose: str
    of: Class
    event_types: tuple[str, ...] = ()
    """Of events: which of them have it; empty for all."""


@dataclass(frozen=True, slots=True)
class Place:
    """A table, and the topic that it is filled from."""

    table: str
    topic: Topic | None
    days: tuple[int, ...]
    """How long the table keeps its rows; empty for ever."""
    entries: tuple[Entry, ...]


_TOPICS = {
    "events": EVENTS,
    "content": CONTENT,
    "metric_windows": METRICS,
    "conversations": METRICS,
    "agents": METRICS,
    "alerts": ALERTS,
    "dead_letters": DEAD,
}
_WITHOUT = frozenset(("prices", "schema_migrations"))
"""Tables in which nothing is of anybody."""

_LINKS = frozenset(
    (
        *("session_id", "conversation_id", "request_id", "trace_id", "span_id", "parent_span_id"),
        *(
            "target_event_id",
            "response_id",
            "call_id",
            "query_hash",
            "event_id",
            "trigger_event_id",
        ),
        *("slowest", "costliest", "failing", "exemplars", "alert_id", "users", "sessions"),
        *("trigger_event_id", "last_event_id", "segment", "erasure_id"),
    )
)
_PERSONS = frozenset((*IDENTITIES, "subject_keys", "requested_by", "record"))
_TEXTS = frozenset((*FREE_TEXT, "text", "explanation"))
_CUSTOMERS = frozenset(("tenant_id", "tenant", "dims", "series"))

_COLUMN = re.compile(
    r"^    (?:ADD COLUMN IF NOT EXISTS )?(\w+) .*?COMMENT '((?:[^']|'')*)'", re.MULTILINE
)
_TABLE = re.compile(r"(?:CREATE TABLE IF NOT EXISTS|ALTER TABLE) (\w+)")
_DAYS = re.compile(r"INTERVAL (\d+) DAY")


def data_map() -> tuple[Place, ...]:
    """Returns every table that may hold something of somebody, with its fields."""
    columns: dict[str, dict[str, str]] = {}
    days: dict[str, tuple[int, ...]] = {}
    for migration in migrations():
        for statement in statements(migration.sql):
            bare = re.sub(r"^\s*--.*\n", "", statement, flags=re.MULTILINE)
            named = _TABLE.match(bare.lstrip())
            if named is None or named[1] in _WITHOUT:
                continue
            table = named[1]
            columns.setdefault(table, {}).update(_COLUMN.findall(bare))
            if found := _DAYS.findall(bare.partition("TTL")[2]):
                days[table] = tuple(map(int, found))
    return tuple(
        Place(table, _TOPICS.get(table), days.get(table, ()), tuple(_entries(table, known)))
        for table, known in columns.items()
        if known  # a statement may only change what is said of a view
    )


def _entries(table: str, columns: dict[str, str]) -> Iterator[Entry]:
    types = _types() if table == "events" else {}
    for name, comment in columns.items():
        purpose = comment.replace("''", "'")
        yield Entry(name, purpose, _class_of(table, name), types.get(name, ()))


def _types() -> dict[str, tuple[str, ...]]:
    """Returns the events that have a field; those that all of them have are left out."""
    found: dict[str, list[str]] = {}
    for event_type, model in EVENT_TYPES.items():
        for name in model.model_fields:
            found.setdefault(name, []).append(event_type)
    return {name: tuple(of) for name, of in found.items() if len(of) < len(EVENT_TYPES)}


def _class_of(table: str, name: str) -> Class:
    if name in _PERSONS:
        return Class.PERSON
    if name in _TEXTS or (table == "dead_letters" and name == "value"):
        return Class.TEXT
    if name in _LINKS:
        return Class.LINK
    return Class.CUSTOMER if name in _CUSTOMERS else Class.FACT
