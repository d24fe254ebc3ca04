"""Lines and sealed batches: the same bytes for ever, and no trust without a stamp."""

import pytest

from backchannel.events import (
    BATCH_BYTES_MAX,
    EVENT_TYPES,
    Accepted,
    Interaction,
    Rejected,
    encode_event,
    judge,
    line_prefix,
    open_batch,
    seal,
)

EVENT = Interaction(user_id="u-1", input_tokens=3)
LINE = encode_event(EVENT)


def test_a_line_leaves_defaults_out_and_reads_back_equal() -> None:
    verdict = judge(LINE)

    assert LINE.startswith(b'{"event_type":"interaction","event_id":"')
    assert b"tenant_id" not in LINE
    assert isinstance(verdict, Accepted)
    assert verdict.event == EVENT


def test_a_producers_line_is_prefix_seq_and_body() -> None:
    body = LINE[len(b'{"event_type":"interaction",') :]
    verdict = judge(line_prefix("interaction", "p-1") + b"7," + body)

    assert isinstance(verdict, Accepted)
    assert (verdict.event.producer_id, verdict.event.seq) == ("p-1", 7)


def test_a_prefix_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="not an event type"):
        line_prefix("telepathy", "p-1")


def test_every_type_has_its_name_on_the_wire() -> None:
    for name, model in EVENT_TYPES.items():
        assert model.model_fields["event_type"].default == name


def test_a_sealed_batch_opens_trusted() -> None:
    batch = seal([LINE, LINE], producer_id="p-1", pseq=4, origin="replay:r1")
    opened = open_batch(batch.value, batch.headers)

    assert opened.trusted
    assert (opened.producer_id, opened.pseq, opened.origin) == ("p-1", 4, "replay:r1")
    assert list(opened.lines) == [LINE, LINE]


@pytest.mark.parametrize("header", ["schema", "producer", "pseq", "count", "crc32"])
def test_a_batch_that_lacks_a_stamp_is_judged_line_by_line(header: str) -> None:
    batch = seal([LINE, b"oops"], producer_id="p-1", pseq=4)
    opened = open_batch(batch.value, [pair for pair in batch.headers if pair[0] != header])

    assert not opened.trusted
    assert [type(verdict) for verdict in opened.verdicts()] == [Accepted, Rejected]


def test_a_changed_byte_ends_the_trust_and_the_numbering() -> None:
    batch = seal([LINE], producer_id="p-1", pseq=4)
    opened = open_batch(batch.value.replace(b"u-1", b"u-2"), batch.headers)

    assert not opened.trusted
    assert opened.pseq is None


def test_a_later_minor_version_keeps_its_number_and_is_judged() -> None:
    batch = seal([LINE[:-1] + b',"new_in_1_7":true}'], producer_id="p-1", pseq=4)
    headers = [(key, b"1.7" if key == "schema" else raw) for key, raw in batch.headers]
    opened = open_batch(batch.value, headers)

    assert not opened.trusted
    assert opened.pseq == 4
    assert isinstance(opened.verdicts()[0], Accepted)


def test_a_later_major_version_is_refused_whole() -> None:
    batch = seal([LINE], producer_id="p-1", pseq=4)
    headers = [(key, b"2.0" if key == "schema" else raw) for key, raw in batch.headers]

    assert open_batch(batch.value, headers).verdicts() == [
        Rejected("the record has schema 2.0, this reader knows 1")
    ]


def test_a_null_value_and_an_empty_one_are_one_bad_line_each() -> None:
    assert open_batch(None, ()).verdicts() == [Rejected("the record has a null value")]
    assert open_batch(b"", ()).verdicts() == [Rejected("the record is empty")]


def test_a_line_end_at_the_end_is_no_line_but_one_in_the_middle_is() -> None:
    assert len(open_batch(LINE + b"\n", ()).lines) == 1
    assert [type(v) for v in open_batch(LINE + b"\n\n" + LINE, ()).verdicts()] == [
        Accepted,
        Rejected,
        Accepted,
    ]


def test_a_batch_above_the_limit_is_never_taken_on_trust() -> None:
    lines = [LINE] * (BATCH_BYTES_MAX // len(LINE) + 1)
    batch = seal(lines, producer_id="p-1", pseq=1)

    assert not open_batch(batch.value, batch.headers).trusted


@pytest.mark.parametrize(
    "origin", [b"", b"replay:", b"replay:a b", b"\xff", b"replay:" + b"x" * 65]
)
def test_an_origin_that_is_no_replay_is_live(origin: bytes) -> None:
    assert open_batch(LINE, [("origin", origin)]).origin == "live"
