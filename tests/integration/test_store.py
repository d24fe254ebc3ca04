"""The sink's own insert, on a real engine."""

from contextlib import closing

import pytest

from backchannel.clock import SYSTEM_CLOCK
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.store import ClickHouseStore
from support.endpoint import ClickHouse

pytestmark = pytest.mark.integration


async def test_tables_that_are_older_than_the_sink_take_what_they_have_columns_for(
    clickhouse: ClickHouse,
) -> None:
    with closing(connect(clickhouse.url, clickhouse.database)) as asking:
        asking.command(
            "CREATE TABLE old (a UInt8, b UInt8 DEFAULT 7) ENGINE = MergeTree ORDER BY a"
        )
        store = ClickHouseStore(lambda: connect(clickhouse.url, clickhouse.database), SYSTEM_CLOCK)
        with closing(store):
            await store.insert("old", b'{"a":1,"of_tomorrow":2}', "t-1", ("a", "of_tomorrow"))

        assert asking.query("SELECT a, b FROM old").result_rows == [(1, 7)]
