"""Where a statement ends and an INSERT's data begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.statement import (
    NEED_MORE,
    Insert,
    leading_verb,
    output_format,
    split_insert,
)

DATA = b"\x00\xff'\"`;/* FORMAT -- SELECT\r\n"


def split(text: bytes) -> tuple[bytes, bytes, str, bytes]:
    found = split_insert(text, complete=True)
    assert isinstance(found, Insert), found
    return found.target, found.settings, found.format, text[found.data_start :]


@pytest.mark.parametrize(
    "head",
    [
        b"INSERT INTO t FORMAT Native\n",
        b"insert into t format Native\n",
        b"INSERT INTO t FORMAT Native\r\n",
        b"INSERT INTO t FORMAT Native \t\n",
        b'INSERT INTO TABLE db.t (a, `b c`, "d") FORMAT Native\n',
        b"INSERT INTO `values`.`format` (`select`) FORMAT Native\n",
        b"INSERT INTO format FORMAT Native\n",
        b"INSERT INTO values (values) FORMAT Native\n",
        b"INSERT INTO t (* EXCEPT(a)) FORMAT Native\n",
        b"/* SELECT /* nested */ 1 */ INSERT -- VALUES\nINTO t\n# FORMAT CSV\nFORMAT Native\n",
        b"INSERT INTO t SETTINGS async_insert=0, log_comment='FORMAT CSV' FORMAT Native\n",
        b"INSERT INTO {name:Identifier} (a) FORMAT `Native`\n",
        b"INSERT INTO FUNCTION null('a UInt8, b String') FORMAT Native\n",
        b"INSERT INTO FUNCTION f('x') PARTITION BY (a, b) FORMAT Native\n",
    ],
)
def test_data_starts_after_the_line_that_names_the_format(head: bytes) -> None:
    _, _, fmt, data = split(head + DATA)
    assert (fmt, data) == ("Native", DATA)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"INSERT INTO t VALUES (1),(2)", b" (1),(2)"),
        (b"INSERT INTO t (a) VALUES(1)", b"(1)"),
        (b"INSERT INTO t (a) values\n(1);", b"\n(1);"),
    ],
)
def test_inline_values_are_data_of_the_values_format(text: bytes, data: bytes) -> None:
    assert split(text) == (text[: text.lower().index(b"values")].strip(), b"", "Values", data)


def test_only_one_line_break_belongs_to_the_statement() -> None:
    assert split(b"INSERT INTO t FORMAT TSV\n\n1\n")[3] == b"\n1\n"


def test_data_may_follow_on_the_same_line() -> None:
    assert split(b'INSERT INTO t FORMAT JSONEachRow {"a": 1}')[3] == b'{"a": 1}'


def test_an_insert_may_have_no_data() -> None:
    assert split(b"INSERT INTO t FORMAT CSV")[2:] == ("CSV", b"")


def test_settings_stay_with_the_statement() -> None:
    text = b"INSERT INTO t (a) SETTINGS insert_deduplication_token='x', max_threads=1 VALUES (1)"
    target, settings, _, _ = split(text)
    assert target == b"INSERT INTO t (a)"
    assert settings == b"SETTINGS insert_deduplication_token='x', max_threads=1"


def test_the_file_stands_between_target_and_settings() -> None:
    found = split_insert(b"INSERT INTO t (a) -- why\nSETTINGS b=1 FORMAT CSV\n1", complete=True)
    assert isinstance(found, Insert)
    assert found.from_file("/spool/x").split(b"\n") == [
        b"INSERT INTO t (a) -- why",
        b"FROM INFILE '/spool/x' COMPRESSION 'none'",
        b"SETTINGS b=1",
        b"FORMAT CSV",
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t (a) SELECT 1 FORMAT CSV",
        b"INSERT INTO t (SELECT 1)",
        b"INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x",
        b"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        b"INSERT INTO t (a)",
        b"INSERT INTO t; DROP TABLE t FORMAT CSV",
        b"INSERT INTO t FORMAT 'CSV' 1",
        b"INSERT INTO 'unterminated",
        b"",
    ],
)
def test_every_other_statement_is_left_whole(text: bytes) -> None:
    assert split_insert(text, complete=True) is None


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
        b"INSERT INTO t SELECT * FROM input('a UInt8') FORMAT CSV 1",
        b"INSERT INTO t (a) (SELECT * FROM INPUT ('a UInt8')) FORMAT CSV 1",
    ],
)
def test_data_that_would_come_from_elsewhere_is_refused(text: bytes) -> None:
    with pytest.raises(ClickHouseError):
        split_insert(text, complete=True)


HEADS = st.sampled_from(
    [
        b"INSERT INTO t FORMAT RowBinary\n",
        b"INSERT INTO `a``b`.\"c\\\"d\" (x, y) SETTINGS a='\\'', b=2 FORMAT RowBinary\n",
        b"/* x */ INSERT INTO t (a) /* FORMAT */ FORMAT RowBinary \r\n",
    ]
)


@given(head=HEADS, data=st.binary(min_size=1), cut=st.integers(min_value=0, max_value=80))
def test_a_cut_anywhere_never_moves_the_split(head: bytes, data: bytes, cut: int) -> None:
    text = head + data
    found = split_insert(text[:cut], complete=False)
    assert found is NEED_MORE or found == split_insert(text, complete=True)
    if len(text) >= cut > len(head) + 3:
        assert isinstance(found, Insert)


@given(data=st.binary())
def test_data_is_never_read_as_sql(data: bytes) -> None:
    assert split(b"INSERT INTO t FORMAT RowBinary\n" + data)[3] == data


@pytest.mark.parametrize(
    ("sql", "fmt"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1 format `JSON`;", "JSON"),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "JSON"),
        (b"SELECT 1 SETTINGS max_threads = 1 FORMAT JSON -- FORMAT CSV", "JSON"),
        (b"SELECT format FROM t", None),
        (b"SELECT 'FORMAT CSV'", None),
        (b"SELECT (SELECT a FROM t FORMAT) x", None),
        (b"SELECT 1", None),
    ],
)
def test_output_format_is_the_outermost_clause(sql: bytes, fmt: str | None) -> None:
    assert output_format(sql) == fmt


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        (b"SELECT 1", "SELECT"),
        (b"-- x\n(select 1) UNION ALL (select 2)", "SELECT"),
        (b"WITH 1 AS x SELECT x", "SELECT"),
        (b"WITH a AS (SELECT 1), b AS (SELECT 2) INSERT INTO t SELECT * FROM a", "INSERT"),
        (b"FROM t SELECT a", "SELECT"),
        (b"show tables", "SHOW"),
        (b"create table t (select UInt8) engine = Memory", "CREATE"),
        (b"  ", ""),
    ],
)
def test_leading_verb_says_what_a_statement_is(sql: bytes, verb: str) -> None:
    assert leading_verb(sql) == verb
