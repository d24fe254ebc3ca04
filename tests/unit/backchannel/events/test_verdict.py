"""The one verdict: what is an event, and what is told about what is not."""

import json
from typing import Any

import pytest

from backchannel.events import LINE_BYTES_MAX, Accepted, Interaction, Rejected, judge

GOOD: dict[str, Any] = {
    "event_type": "interaction",
    "event_id": "018bcfe5-6800-7000-8000-000000000000",
    "ts_us": 1_700_000_000_000_000,
}


def line(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def reason(raw: bytes) -> str:
    verdict = judge(raw)
    assert isinstance(verdict, Rejected)
    return verdict.reason


def test_minimal_event_is_accepted_with_its_defaults() -> None:
    verdict = judge(line())

    assert isinstance(verdict, Accepted)
    assert isinstance(verdict.event, Interaction)
    assert (verdict.event.tenant_id, verdict.event.status, verdict.event.ttft_us) == (
        "default",
        "ok",
        None,
    )


def test_unknown_fields_are_left_out_and_counted() -> None:
    verdict = judge(line(a_field_of_tomorrow=1, another={"x": []}))

    assert isinstance(verdict, Accepted)
    assert verdict.unknown_fields == 2
    assert verdict.event.model_extra is None


def test_unknown_fields_of_a_document_are_left_out_and_counted() -> None:
    verdict = judge(line(event_type="retrieval", documents=[{"id": "d", "page": 3}]))

    assert isinstance(verdict, Accepted)
    assert verdict.unknown_fields == 1


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "the line is empty"),
        (b" \t\r", "the line is empty"),
        (b"not json", "not JSON: expected ident at line 1 column 2"),
        (b"[]", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b"{}", "missing field: event_type"),
        (line() + line(), "not JSON: trailing characters"),
        (b"\xef\xbb\xbf" + line(), "not JSON: expected value"),
        (line(user_id="x").replace(b'"x"', b'"\xff\xfe"'), "not JSON: invalid unicode"),
        (line(user_id="x").replace(b'"x"', b'"\\ud800"'), "not JSON: unexpected end of hex"),
        (line(user_id="x").replace(b'"x"', b'"\x00"'), "not JSON: control character"),
        (line(event_type="telepathy"), "unknown event_type: known are interaction, llm_call"),
        (line(input_tokens="12"), "input_tokens: input should be a valid integer"),
        (line(input_tokens=12.0), "input_tokens: input should be a valid integer"),
        (line(input_tokens=True), "input_tokens: input should be a valid integer"),
        (line(input_tokens=None), "input_tokens: input should be a valid integer"),
        (line(input_tokens=-1), "input_tokens: input should be greater than or equal to 0"),
        (line(input_tokens=10**20), "input_tokens: input should be less than or equal to"),
        (line(duration_us=float("nan")), "duration_us: input should be a valid integer"),
        (line(user_id={"a": 1}), "user_id: input should be a valid string"),
        (line(streamed=1), "streamed: input should be a valid boolean"),
        (line(status="great"), "status: input should be 'ok'"),
        (line(event_id="17"), "event_id: string should match pattern"),
        (line(event_id="00000000-0000-0000-0000-000000000000"), "event_id: the nil UUID"),
        (line(ts_us=-1), "ts_us: input should be greater than or equal to 0"),
        (line(ts_us=10**17), "ts_us: input should be less than"),
        (line(schema_version=2), "schema_version: input should be 1"),
        (line(tags=["a", 1]), "tags.1: input should be a valid string"),
        (line(user_id="u" * 257), "user_id: string should have at most 256 characters"),
        (
            line(attributes={"x": "y" * LINE_BYTES_MAX}),
            f"bytes, the limit is {LINE_BYTES_MAX}",
        ),
    ],
)
def test_what_is_no_event_is_told_in_words(raw: bytes, told: str) -> None:
    assert told in reason(raw)


@pytest.mark.parametrize("field", ["event_id", "ts_us"])
def test_a_reader_never_makes_up_what_a_constructor_does(field: str) -> None:
    event = GOOD.copy()
    del event[field]

    assert reason(json.dumps(event).encode()) == f"missing field: {field}"


def test_a_reason_never_holds_a_value_or_a_name_out_of_the_line() -> None:
    secret = "sk-live-canary"  # a value somebody put where it does not belong
    told = reason(
        line(
            input_tokens=secret,
            status=secret,
            event_id=secret,
            components={secret: secret},
            attributes={secret: 1},
        )
    )
    assert secret not in told
    assert secret not in reason(line(event_type=secret))
    assert secret not in reason(b'{"' + secret.encode() + b'": oops}')


def test_more_than_three_mistakes_are_counted_not_listed() -> None:
    told = reason(
        line(input_tokens="1", output_tokens="1", duration_us="1", turn="1", llm_calls="")
    )

    assert told.count(";") == 3
    assert told.endswith("and 2 more")


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    verdict = judge(line(user_id="first")[:-1] + b',"user_id":"last"}')

    assert isinstance(verdict, Accepted)
    assert verdict.event.user_id == "last"
