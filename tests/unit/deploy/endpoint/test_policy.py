"""What a client may not ask."""

import pytest

from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.policy import check_statement


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT file('/etc/passwd')", "ACCESS_DENIED"),
        ("SELECT FILE /* x */ ('/etc/passwd')", "ACCESS_DENIED"),
        ("SELECT `file`('/etc/passwd')", "ACCESS_DENIED"),
        ("SELECT `f\\x69le`('/etc/passwd')", "ACCESS_DENIED"),
        ("SELECT “file”(‘/etc/passwd’)", "ACCESS_DENIED"),
        ("SELECT ‘'’, file('/etc/passwd') --'", "ACCESS_DENIED"),
        ("SELECT /* /* */ */ file('/etc/passwd')", "ACCESS_DENIED"),
        ("SELECT * FROM Python(secrets)", "ACCESS_DENIED"),
        ("CREATE FUNCTION f AS x -> file(x)", "ACCESS_DENIED"),
        ("SELECT * FROM eval('SELECT 1')", "ACCESS_DENIED"),
        ("CREATE TABLE t (a String) ENGINE = Executable('x', 'TSV')", "ACCESS_DENIED"),
        ("CREATE TABLE t (a String) ENGINE EmbeddedRocksDB(0, '/x')", "ACCESS_DENIED"),
        ("CREATE DICTIONARY d (a String) SOURCE(FILE(path '/x'))", "ACCESS_DENIED"),
        ("CREATE DICTIONARY d (a String) SOURCE(HTTP(url 'x'))", "ACCESS_DENIED"),
        ("SELECT 1 INTO OUTFILE '/x'", "INTO_OUTFILE_NOT_ALLOWED"),
        ("SELECT 1 INTO\nOUTFILE '/x'", "INTO_OUTFILE_NOT_ALLOWED"),
        ("INSERT INTO t FROM INFILE '/x'", "UNKNOWN_TYPE_OF_QUERY"),
        ("DROP DATABASE IF EXISTS `default`", "ACCESS_DENIED"),
        ("DETACH DATABASE default", "ACCESS_DENIED"),
        ("RENAME DATABASE default TO x", "ACCESS_DENIED"),
        ("SELECT 1; SELECT 2", "SYNTAX_ERROR"),
        ("SELECT 'not closed", "SYNTAX_ERROR"),
        ("/* /* */ SELECT file('/x')", "SYNTAX_ERROR"),
    ],
)
def test_what_reaches_beyond_the_tables_is_refused(sql: str, name: str) -> None:
    with pytest.raises(ClickHouseError) as refused:
        check_statement(sql.encode())
    assert refused.value.name == name


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'file(1)', `file`, file FROM t",
        "SELECT file FROM t WHERE engine = 'Executable'",
        "SELECT 1;",
        "SELECT 1 ; ; -- done",
        "DROP DATABASE other",
        "DROP TABLE default.t",
        "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a",
        "CREATE DICTIONARY d (a String) SOURCE(CLICKHOUSE(TABLE 't'))",
        "SELECT source FROM t",
    ],
)
def test_what_stays_within_the_tables_passes(sql: str) -> None:
    check_statement(sql.encode())
