"""Request bodies: text, data, compression, limits, and the file that goes again."""

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest

from backchannel_deploy.endpoint.body import Body, BodyLimits, BodyReader
from backchannel_deploy.endpoint.errors import ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

INSERT = b"INSERT INTO t FORMAT CSV\n"
ROWS = b"1,2\n" * 100_000


def read(body: bytes, folder: Path, query: str = "", coding: str = "") -> tuple[Body, bytes | None]:
    with BodyReader(query, coding, folder) as reader:
        for start in range(0, len(body), 1000):
            reader.feed(body[start : start + 1000])
        whole = reader.finish()
        data = [path.read_bytes() for path in folder.iterdir()]
        return whole, data[0] if data else None


def test_a_statement_stays_in_memory(tmp_path: Path) -> None:
    assert read(b"SELECT 1", tmp_path) == (Body(b"SELECT 1", b"SELECT 1"), None)


def test_data_goes_to_a_file_and_the_file_goes_at_the_end(tmp_path: Path) -> None:
    body, data = read(INSERT + ROWS, tmp_path)
    assert body.has_file
    assert body.statement.strip() == b"INSERT INTO t"
    assert data == ROWS
    assert list(tmp_path.iterdir()) == []


def test_the_url_may_hold_the_statement_and_the_body_the_data(tmp_path: Path) -> None:
    assert read(ROWS, tmp_path, query="INSERT INTO t FORMAT CSV")[1] == ROWS


def test_the_url_may_hold_the_whole_statement(tmp_path: Path) -> None:
    assert read(b"", tmp_path, query="SELECT 1")[0].sql == b"SELECT 1\n"


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstd.compress),
    ],
)
def test_bodies_are_unfolded(
    coding: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    assert read(compress(INSERT + ROWS), tmp_path, coding=coding)[1] == ROWS
    assert read(compress(INSERT) + compress(ROWS), tmp_path, coding=coding)[1] == ROWS
    with pytest.raises(ClickHouseError, match="unexpected end"):
        read(compress(INSERT + ROWS)[:-5], tmp_path, coding=coding)
    with pytest.raises(ClickHouseError, match="CANNOT_DECOMPRESS"):
        read(b"this is not compressed at all", tmp_path, coding=coding)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_coding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClickHouseError, match="NOT_IMPLEMENTED"):
        BodyReader("", "snappy", tmp_path)


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        (b"INSERT INTO t (" + b"a," * 1000, BodyLimits(head_bytes=100)),
        (b"SELECT " + b"1," * 1000, BodyLimits(statement_bytes=100)),
        (INSERT + ROWS, BodyLimits(data_bytes=1000)),
    ],
)
def test_what_is_too_large_is_refused(body: bytes, limits: BodyLimits, tmp_path: Path) -> None:
    with (
        BodyReader("", "", tmp_path, limits) as reader,
        pytest.raises(ClickHouseError) as refused,
    ):
        reader.feed(body)
    assert refused.value.name == "QUERY_IS_TOO_LARGE"
    assert list(tmp_path.iterdir()) == []


def test_a_small_body_does_not_unfold_into_memory_at_once(tmp_path: Path) -> None:
    bomb = gzip.compress(b"SELECT " + b" " * (200 << 20))
    with (
        BodyReader("", "gzip", tmp_path) as reader,
        pytest.raises(ClickHouseError, match="larger than"),
    ):
        reader.feed(bomb)
