"""Who was erased is left out, whatever a row looks like."""

import json
from typing import Any, Literal

import pytest

from backchannel.events import Interaction, Tombstone, encode_event, seal
from backchannel_sinks.block import Block
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import event_rows
from backchannel_sinks.tombstones import Tombstones

NOON_US = 1_700_000_000_000_000


def erased(key: str, subject: Literal["user", "tenant", "conversation"] = "user") -> Tombstones:
    tombstone = Tombstone(erasure_id="e1", subject=subject, keys=(key,), requested_at_us=NOON_US)
    return Tombstones([tombstone])


def row(**fields: Any) -> bytes:
    known = {"_broker_time": NOON_US / 1e6, "event_type": "interaction", "ts_us": NOON_US}
    return json.dumps(known | fields, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["user_id", "distinct_id", "principal_hash"])
def test_a_user_is_left_out_by_every_name(name: str) -> None:
    assert erased("jo").left_of(row(**{name: "jo"})) is None
    assert erased("jo").left_of(row(**{name: "joe"})) is not None


def test_a_name_may_be_written_with_escapes() -> None:
    escaped = json.dumps({"ts_us": NOON_US, "user_id": "zoë"}).encode()

    assert b"\\u" in escaped
    assert erased("zoë").left_of(escaped) is None


def test_what_happens_after_the_request_stays() -> None:
    later = {"ts_us": NOON_US + 1, "_broker_time": NOON_US / 1e6 + 1}

    assert erased("jo").left_of(row(user_id="jo", **later)) is not None


def test_what_a_bot_sends_late_is_left_out() -> None:
    assert erased("jo").left_of(row(user_id="jo", _broker_time=NOON_US / 1e6 + 9_000)) is None


def test_conversations_and_tenants_are_left_out_too() -> None:
    assert erased("c1", "conversation").left_of(row(conversation_id="c1")) is None
    assert erased("acme", "tenant").left_of(row(tenant_id="acme")) is None
    assert erased("acme", "user").left_of(row(tenant_id="acme")) is not None


def test_the_tenant_that_the_wire_leaves_out_can_be_erased() -> None:
    assert erased("default", "tenant").left_of(row()) is None


def test_a_window_of_the_subject_is_left_out() -> None:
    window = {"dims": {"user": "jo"}, "window_start": NOON_US // 10**6 - 10}

    assert erased("jo").left_of(json.dumps(window).encode()) is None
    other = {"dims": {"tenant": "jo"}, "window_start": NOON_US // 10**6 - 10}
    assert erased("jo").left_of(json.dumps(other).encode()) is not None


def test_a_dead_letter_keeps_its_place_and_loses_its_line() -> None:
    letter = {"value": '{"user_id":"jo', "broker_time": 0.0, "value_sha256": "x", "line": 3}
    told = json.dumps({**letter, "value": '{"user_id":"jo", oops'}).encode()
    left = erased("jo").left_of(told)

    assert left is not None
    assert json.loads(left) == {**letter, "value": ""}


def test_the_request_itself_stays_on_record() -> None:
    assert erased("jo").left_of(row(event_type="erasure", user_id="jo")) is not None


def test_many_names_are_found_too() -> None:
    tombstones = Tombstones()
    for number in range(200):
        keys = (f"u{number}",)
        tombstones.add(
            Tombstone(erasure_id="e", subject="user", keys=keys, requested_at_us=NOON_US)
        )

    assert tombstones.left_of(row(user_id="u150")) is None
    assert tombstones.left_of(row(user_id="u200")) is not None


def test_lines_that_are_left_out_are_counted_and_keep_their_places() -> None:
    lines = [
        encode_event(Interaction(user_id=user, ts_us=NOON_US, producer_id="p", seq=seq))
        for seq, user in enumerate(("jo", "al"), 8)
    ]
    batch = seal(lines, producer_id="p", pseq=1)
    record = Record(0, NOON_US // 1_000, batch.value, batch.headers)
    rows = event_rows(Block(Place("chat.events", 0), 0, [record]), ProducerNumbers())
    rows.leave_out(erased("jo"))

    assert (rows.stored, rows.erased, rows.lines) == (1, 1, 2)
    assert json.loads(rows.parts[0])["_line"] == 1
    [(table, body), *_] = list(rows.bodies("events"))[1:]
    place = json.loads(body)
    assert (table, place["erasure_id"], place["seq"], place["_line"]) == (
        "erased_events",
        "e1",
        8,
        0,
    )
    assert b"jo" not in body


def test_rows_of_other_tables_leave_no_place() -> None:
    window = {"dims": {"user": "jo"}, "window_start": NOON_US // 10**6 - 10}

    assert erased("jo").place_of(json.dumps(window).encode()) is None
