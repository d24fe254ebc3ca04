"""The verdict over anything: it never raises; what it accepts it writes and reads again."""

import json

from hypothesis import given
from hypothesis import strategies as st

from backchannel.events import (
    EVENT_TYPES,
    Accepted,
    Rejected,
    encode_event,
    judge,
    open_batch,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
FIELDS = sorted({name for model in EVENT_TYPES.values() for name in model.model_fields})
GOOD = {
    "event_type": "interaction",
    "event_id": "018bcfe5-6800-7000-8000-000000000000",
    "ts_us": 1,
    "name": "n",
}
LINES = st.builds(
    lambda event_type, fields: json.dumps(GOOD | {"event_type": event_type} | fields).encode(),
    st.sampled_from(list(EVENT_TYPES)),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
)


@given(st.binary(max_size=200) | LINES)
def test_a_verdict_is_given_on_any_bytes(line: bytes) -> None:
    assert isinstance(judge(line), Accepted | Rejected)


@given(LINES)
def test_what_is_accepted_is_written_and_read_again_as_the_same_event(line: bytes) -> None:
    verdict = judge(line)
    if isinstance(verdict, Accepted):
        again = judge(encode_event(verdict.event))
        assert isinstance(again, Accepted)
        assert (again.event, again.unknown_fields) == (verdict.event, 0)


@given(
    st.none() | st.binary(max_size=200),
    st.lists(
        st.tuples(
            st.sampled_from(["schema", "producer", "pseq", "count", "crc32", "origin", "x"]),
            st.binary(max_size=12),
        )
    ),
)
def test_any_record_opens_to_one_verdict_a_line(
    value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    opened = open_batch(value, headers)

    assert len(opened.verdicts()) == len(opened.lines) >= 1
