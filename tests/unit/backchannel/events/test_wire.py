"""Recorded bytes: what was once written must decode for ever, and other languages can check."""

import json
from pathlib import Path
from typing import Any

from backchannel.events import (
    EVENT_TYPES,
    Accepted,
    Envelope,
    OpenedBatch,
    Rejected,
    encode_event,
    murmur2,
    open_batch,
    partition_key,
    partition_of,
)

WIRE = Path(__file__).parents[3] / "wire"


def recorded(name: str) -> OpenedBatch:
    record: dict[str, Any] = json.loads((WIRE / name).read_text("utf-8"))
    headers = [(key, text.encode()) for key, text in record["headers"].items()]
    return open_batch(record["value"].encode(), headers)


def test_version_1_still_decodes_and_encodes_to_the_same_bytes() -> None:
    batch = recorded("v1.json")
    verdicts = batch.verdicts()

    assert batch.pseq == 1
    assert [v.event.event_type for v in verdicts if isinstance(v, Accepted)] == list(EVENT_TYPES)
    for line, verdict in zip(batch.lines, verdicts, strict=True):
        assert isinstance(verdict, Accepted)
        assert json.loads(encode_event(verdict.event)) == json.loads(line)


GAINED = {"interaction": {"ttfb_us", "in_flight"}}
"""Fields that version 1 has gained since it was recorded, by type of event."""


def test_version_1_recorded_every_field_there_was() -> None:
    for line in recorded("v1.json").lines:
        fields = json.loads(line)
        # schema_version stands at its default and so is left out
        known = set(EVENT_TYPES[fields["event_type"]].model_fields) - {"schema_version"}
        assert set(fields) == known - GAINED.get(fields["event_type"], set())


def test_what_an_event_has_gained_it_may_be_without() -> None:
    for event_type, names in GAINED.items():
        fields = EVENT_TYPES[event_type].model_fields
        assert not any(fields[name].is_required() for name in names)


def test_a_future_minor_version_decodes_without_what_is_new_in_it() -> None:
    batch = recorded("v1_9_future.json")
    *known, unknown = batch.verdicts()

    assert not batch.trusted
    assert batch.pseq == 1
    assert [v.unknown_fields for v in known if isinstance(v, Accepted)] == [3, 3, 4]
    assert isinstance(unknown, Rejected)
    assert unknown.reason.startswith("unknown event_type")


def test_partitions_agree_with_the_vectors() -> None:
    for vector in json.loads((WIRE / "partitions.json").read_text("utf-8")):
        assert murmur2(vector["key"].encode()) == vector["murmur2"]
        assert partition_of(vector["key"], 12) == vector["partition_of_12"]


def test_the_partition_key_falls_back_in_the_contracts_order() -> None:
    names = ["conversation_id", "session_id", "user_id", "tenant_id", "producer_id"]
    for first in range(len(names)):
        fields = {name: name for name in names[first:]}
        assert partition_key(Envelope(**fields)) == names[first]  # type: ignore[arg-type]  # strings
    assert partition_key(Envelope(tenant_id="default", producer_id="p")) == "p"
