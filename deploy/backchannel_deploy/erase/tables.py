"""The tables of ClickHouse, as erasure needs them. Blocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from backchannel.events import Tombstone
from backchannel_deploy.erase.subject import Removal, removals
from backchannel_deploy.parts import stored

__all__ = ["Noted", "count", "keep_places", "note", "noted", "old_parts", "remove"]

_WHOLE = {"apply_deleted_mask": 0, "final": 0}
"""Every row that lies on the disk is counted, also one that only looks deleted."""

_SYNC = {
    "mutations_sync": 2,
    # Whose a conversation was, a replica asks of the events: each finds the same.
    "allow_nondeterministic_mutations": 1,
}

_PLACES = """
INSERT INTO erased_events SELECT {erasure_id:String}, producer_id, service, seq, _producer, _pseq,
    _origin, _partition, _offset, _line, _epoch, _broker_time
FROM events WHERE
"""

_SUMS_WITHOUT_TENANT = """
INSERT INTO erased_windows SELECT concat(erasure_id, '+', {erasure_id:String}), origin,
    window_start, mapFilter((name, value) -> name != 'tenant', dims), count, input_tokens,
    output_tokens, cost_picousd, measures, written_at_us
FROM erased_windows FINAL WHERE has({keys:Array(String)}, dims['tenant'])
"""


@dataclass(frozen=True, slots=True)
class Noted:
    """A step of an erasure that is done."""

    erasure_id: str
    step: str
    at_us: int
    subject: str
    keys: tuple[str, ...]
    requested_at_us: int
    requested_by: str
    removed: Mapping[str, int]
    record: str
    key_id: str
    signature: str


def noted(client: Client) -> list[Noted]:
    """Returns every step of every erasure, in the order of time."""
    rows = client.query(
        "SELECT erasure_id, step, at_us, subject, subject_keys, requested_at_us, requested_by,"
        " removed, record, key_id, signature FROM erasures FINAL"
        " ORDER BY requested_at_us, erasure_id, at_us"
    ).result_rows
    return [
        Noted(
            erasure_id=row[0],
            step=row[1],
            at_us=row[2],
            subject=row[3],
            keys=tuple(row[4]),
            requested_at_us=row[5],
            requested_by=row[6],
            removed=row[7],
            record=row[8],
            key_id=row[9],
            signature=row[10],
        )
        for row in rows
    ]


def note(
    client: Client,
    tombstone: Tombstone,
    step: str,
    at_us: int,
    *,
    removed: Mapping[str, int] | None = None,
    record: str = "",
    key_id: str = "",
    signature: str = "",
) -> None:
    """Notes a step. Again, the later note counts."""
    client.insert(
        "erasures",
        [
            [
                *(tombstone.erasure_id, step, at_us, tombstone.subject, list(tombstone.keys)),
                *(tombstone.requested_at_us, tombstone.requested_by, dict(removed or {})),
                *(record, key_id, signature),
            ]
        ],
        column_names=[
            *("erasure_id", "step", "at_us", "subject", "subject_keys", "requested_at_us"),
            *("requested_by", "removed", "record", "key_id", "signature"),
        ],
    )


def count(client: Client, tombstone: Tombstone) -> dict[str, int]:
    """Returns by table how many rows there are to remove, deleted ones that still lie there too."""
    found: dict[str, int] = {}
    for removal in removals(tombstone.subject):
        rows = client.query(
            f"SELECT count() FROM {removal.table} WHERE {removal.where}",  # noqa: S608 -- of our own making
            parameters=_parameters(tombstone),
            settings=_WHOLE,
        ).result_rows
        if n := int(rows[0][0]):
            found[removal.table] = n
    return found


def keep_places(client: Client, tombstone: Tombstone) -> None:
    """Keeps where the events stand that are to go, and nothing of what they say; and sums of users
    who were erased before, without the name of the tenant that goes now."""
    (events,) = (each for each in removals(tombstone.subject) if each.table == "events")
    parameters = {**_parameters(tombstone), "erasure_id": tombstone.erasure_id}
    durable = {"distributed_foreground_insert": 1}
    client.command(_PLACES + events.where, parameters=parameters, settings=durable)
    if tombstone.subject == "tenant":
        client.command(_SUMS_WITHOUT_TENANT, parameters=parameters)


def remove(client: Client, tombstone: Tombstone) -> None:
    """Rewrites every part that holds a row of the subject; returns when that is done."""
    for removal in removals(tombstone.subject):
        table = stored(client, removal.table)
        client.command(
            _statement(removal, table), parameters=_parameters(tombstone), settings=dict(_SYNC)
        )


def old_parts(client: Client) -> int:
    """Returns how many parts that were rewritten still lie on the disk."""
    tables = sorted({each.table for each in removals("user")})
    rows = client.query(
        "SELECT count() FROM system.parts WHERE database = currentDatabase() AND NOT active"
        " AND replaceRegexpOne(table, '_local$', '') IN {tables:Array(String)}",
        parameters={"tables": tables},
    ).result_rows
    return int(rows[0][0])


def _statement(removal: Removal, table: str) -> str:
    what = f"UPDATE {removal.blanked} = ''" if removal.blanked else "DELETE"
    return f"ALTER TABLE {table} {what} WHERE {removal.where}"


def _parameters(tombstone: Tombstone) -> dict[str, Any]:
    return {"keys": list(tombstone.keys), "until_us": tombstone.requested_at_us}
