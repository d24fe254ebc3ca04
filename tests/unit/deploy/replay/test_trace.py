"""Which rows a recorded file has, and which of them can't be used."""

from pathlib import Path

import pytest

from backchannel.events import LINE_BYTES_MAX, Event, Interaction, Retrieval, encode_event
from backchannel_deploy.errors import UserError
from backchannel_deploy.replay.survey import survey
from backchannel_deploy.replay.trace import BadRow, Request, read_rows, timestamp_us
from support.trace import write_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def file_of(folder: Path, content: str | bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_row_of_a_trace_keeps_its_time_and_tokens(tmp_path: Path) -> None:
    path = file_of(tmp_path, HEADER + "2023-11-16 18:15:46.6805900,374,44")

    assert list(read_rows(path)) == [Request(1_700_158_546_680_590, 374, 44)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01 00:00:00.0000019", 1),
        ("2023-11-16 18:15:46", 1_700_158_546_000_000),
        ("2023-11-16T18:15:46Z", 1_700_158_546_000_000),
        ("2023-11-16 20:15:46+02:00", 1_700_158_546_000_000),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise_and_is_cut_to_microseconds(
    text: str, expected: int
) -> None:
    assert timestamp_us(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "1969-12-31 23:59:59", "2200-01-01"])
def test_a_time_that_no_event_can_have_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        timestamp_us(text)


def test_columns_may_stand_in_any_order_with_others_between(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        b"\xef\xbb\xbfid,GeneratedTokens,TIMESTAMP,ContextTokens\r\n"
        b'"a,b",2,"1970-01-01 00:00:01",1\r\n\r\n',
    )

    assert list(read_rows(path)) == [Request(1_000_000, 1, 2)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2023-11-16 18:15:46,1", "has 2 columns"),
        ("soon,1,2", "TIMESTAMP is not a time"),
        ("2023-11-16 18:15:46,-1,2", "ContextTokens is not a whole number"),
        ("2023-11-16 18:15:46,1,2.5", "GeneratedTokens is not a whole number"),
        ("2023-11-16 18:15:46,1,99999999999999", "GeneratedTokens is not a whole number"),
        ("2023-11-16 18:15:46,\u0661,2", "ContextTokens is not a whole number"),
    ],
)
def test_a_bad_row_says_where_and_why(tmp_path: Path, row: str, reason: str) -> None:
    path = file_of(tmp_path, HEADER + "\n" + row)

    (bad,) = read_rows(path)

    assert isinstance(bad, BadRow)
    assert bad.line == 3
    assert reason in bad.reason


def test_events_are_read_as_they_are(tmp_path: Path) -> None:
    events: list[Event] = [Interaction(input_tokens=3), Retrieval(top_k=2)]
    path = file_of(tmp_path, b"\n".join(map(encode_event, events)))

    assert list(read_rows(path)) == events


def test_a_line_that_is_no_event_is_a_bad_row(tmp_path: Path) -> None:
    path = file_of(tmp_path, encode_event(Interaction()) + b'\n{"event_type":"interaction"}\n')

    _, bad = read_rows(path)

    assert bad == BadRow(2, "missing field: event_id; missing field: ts_us")


def test_an_endless_line_is_one_bad_row_and_the_next_is_read(tmp_path: Path) -> None:
    good = encode_event(Interaction())
    path = file_of(tmp_path, b"{" + b"x" * (3 * LINE_BYTES_MAX) + b"\n" + good)

    bad, event = read_rows(path)

    assert isinstance(bad, BadRow)
    assert bad.line == 1
    assert isinstance(event, Interaction)


@pytest.mark.parametrize("content", ["", "\n\n", "a,b,c\n1,2,3\n", "\x00\xff"])
def test_a_file_of_neither_kind_is_refused_with_what_is_expected(
    tmp_path: Path, content: str
) -> None:
    with pytest.raises(UserError, match="TIMESTAMP, ContextTokens, GeneratedTokens"):
        list(read_rows(file_of(tmp_path, content)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*nothing\.csv: no such file"):
        list(read_rows(tmp_path / "nothing.csv"))


def test_a_survey_adds_up_rows_and_names_the_first_bad_ones(tmp_path: Path) -> None:
    path = file_of(tmp_path, HEADER + "1970-01-01 00:00:09,1,1\nx\n1970-01-01 00:00:04,1,1\n" * 4)

    found = survey(path)

    assert (found.rows, found.bad, found.span_us) == (8, 4, 5_000_000)
    assert found.backwards_us == 5_000_000
    assert found.bad_rows().startswith("line 3: has 1 columns")
    assert found.bad_rows().endswith("; and 1 more")


def test_the_seed_follows_from_the_content_alone(tmp_path: Path) -> None:
    one, same = write_trace(tmp_path / "1", rows=50), write_trace(tmp_path / "2", rows=50)
    other = write_trace(tmp_path / "3", rows=50, seed=2)

    assert survey(one.path).content_seed == survey(same.path).content_seed
    assert survey(one.path).content_seed != survey(other.path).content_seed


def test_a_file_without_one_good_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2: has 1 columns"):
        survey(file_of(tmp_path, HEADER + "x\n"))
