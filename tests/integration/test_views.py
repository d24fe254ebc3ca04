"""The views that analysts ask, on a real engine: the same figures as Python's, bit for bit."""

import random
import re
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import (
    BUCKET_UPPERS,
    COUNT_MAX,
    ZERO_BUCKET,
    Alert,
    Window,
    bucket_of,
    bucket_value,
    quantile,
)
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import migrate
from support.endpoint import ClickHouse

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
NOW_US = SYSTEM_CLOCK.now_us()
START = NOW_US // 60_000_000 * 60

PERMILLES = {"p50_ms": 500, "p90_ms": 900, "p95_ms": 950, "p99_ms": 990}


@pytest.fixture
def client(clickhouse: ClickHouse) -> Iterator[Client]:
    """A client of a database that has all tables and views."""
    client = connect(clickhouse.url, clickhouse.database)
    migrate(client)
    yield client
    client.close()


def histogram(durations_us: Sequence[int]) -> dict[int, int]:
    buckets: dict[int, int] = {}
    for duration_us in durations_us:
        bucket = bucket_of(duration_us)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    return buckets


def window(durations_us: Sequence[int] = (), **fields: Any) -> Window:
    """A window of tenant ``acme`` that holds these durations."""
    known = {
        "origin": "live",
        "grouping": "tenant",
        "dims": {"tenant": "acme"},
        "window_s": 60,
        "window_start": START,
        "revision": 4,
        "final": False,
        "complete": True,
        "count": len(durations_us),
        "errors": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "latency_count": len(durations_us),
        "latency_sum_us": sum(durations_us),
        "latency_min_us": min(durations_us, default=0),
        "latency_max_us": max(durations_us, default=0),
        "latency_mean_us": 0,
        "latency_p50_us": 0,
        "latency_p90_us": 0,
        "latency_p95_us": 0,
        "latency_p99_us": 0,
        "latency_buckets": histogram(durations_us),
        "newest_event_at_us": NOW_US,
        "published_at_us": NOW_US,
    }
    return Window.model_validate({**known, **fields})


def insert(client: Client, *rows: Window | Alert, epoch: int = 1) -> None:
    """Inserts rows as the sink does; all rows are of one kind."""
    table = "alerts" if isinstance(rows[0], Alert) else "metric_windows"
    prefix = b'{"_partition":0,"_offset":1,"_line":0,"_epoch":%d,' % epoch
    client.raw_insert(
        table,
        insert_block=b"\n".join(prefix + row.model_dump_json().encode()[1:] for row in rows),
        fmt="JSONEachRow",
        settings={"input_format_skip_unknown_fields": 1, "input_format_null_as_default": 0},
    )


def ask(client: Client, sql: str) -> list[dict[str, Any]]:
    return list(client.query(sql).named_results())


def test_percentiles_are_those_of_python(client: Client) -> None:
    chance = random.Random(7)
    windows = [
        window(
            [int(chance.paretovariate(0.4)) % COUNT_MAX for _ in range(chance.randint(1, 300))],
            window_start=START + 60 * number,
        )
        for number in range(200)
    ]
    insert(client, *windows)

    rows = ask(client, "SELECT * FROM v_latency ORDER BY window_start")

    for each, row in zip(windows, rows, strict=True):
        least, most = each.latency_min_us, each.latency_max_us
        for column, permille in PERMILLES.items():
            exact = quantile(each.latency_buckets, permille, least=least, most=most)
            assert row[column] == exact / 1000
        assert (row["min_ms"], row["max_ms"]) == (least / 1000, most / 1000)
        assert row["mean_ms"] == pytest.approx(each.latency_sum_us / each.latency_count / 1000)


def test_every_bucket_stands_for_the_same_value_as_in_python(client: Client) -> None:
    indexes = range(ZERO_BUCKET, ZERO_BUCKET + 1 + len(BUCKET_UPPERS))
    # Wide bounds, so that the bucket's own value shows.
    windows = [
        window(
            latency_count=1,
            latency_buckets={index: 1},
            latency_max_us=2 * COUNT_MAX,
            window_start=START + 60 * (index - ZERO_BUCKET),
        )
        for index in indexes
    ]
    insert(client, *windows)

    rows = client.query("SELECT p50_ms FROM v_latency ORDER BY window_start").result_rows
    assert [row[0] for row in rows] == [bucket_value(index) / 1000 for index in indexes]


def test_counts_near_the_bound_of_64_bits_do_not_overflow_the_rank(client: Client) -> None:
    buckets = {10: 2**61, 400: 2**59}
    insert(client, window(latency_count=2**62, latency_buckets=buckets, latency_max_us=10**9))

    exact = quantile(buckets, 990, least=0, most=10**9)
    assert ask(client, "SELECT p99_ms FROM v_latency")[0]["p99_ms"] == exact / 1000


def test_only_the_newest_revision_counts(client: Client) -> None:
    for revision, tokens in ((4, 10), (12, 30), (8, 20)):
        insert(client, window(revision=revision, input_tokens=tokens, count=tokens))

    row = ask(client, "SELECT count, total_tokens, tokens_per_minute FROM v_tokens")[0]
    assert row == {"count": 30, "total_tokens": 30, "tokens_per_minute": 30.0}


def test_windows_of_topics_made_anew_add_up_with_the_old_ones(client: Client) -> None:
    insert(client, window([1_000] * 3, revision=400), epoch=1)
    insert(client, window([9_000] * 5, revision=4), epoch=2)

    rows = ask(client, "SELECT n, min_ms, max_ms, p50_ms FROM v_latency")
    assert rows == [{"n": 8, "min_ms": 1.0, "max_ms": 9.0, "p50_ms": pytest.approx(9, rel=0.011)}]


def test_a_replay_stands_beside_live_traffic(client: Client) -> None:
    insert(client, window([1_000]), window([2_000], origin="replay:a"))

    rows = ask(client, "SELECT origin, n, p50_ms FROM v_latency ORDER BY origin")
    assert [(row["origin"], row["n"]) for row in rows] == [("live", 1), ("replay:a", 1)]


def test_a_window_without_durations_has_no_percentiles(client: Client) -> None:
    insert(client, window(late=3))

    row = ask(client, "SELECT * FROM v_latency")[0]
    assert row["n"] == 0
    assert [row[name] for name in ("mean_ms", *PERMILLES, "min_ms", "max_ms")] == [None] * 7


def test_the_dimensions_stand_in_columns_of_their_own(client: Client) -> None:
    dims = {"model": "m", "tenant": "acme", "endpoint": "/chat"}
    turned = {"tenant": "acme", "endpoint": "/chat", "model": "m"}
    grouping = "tenant,endpoint,model"
    insert(client, window([1], grouping=grouping, dims=dims))
    insert(client, window([1, 2], grouping=grouping, dims=turned, revision=8))

    rows = ask(client, "SELECT tenant, endpoint, model, n FROM v_latency")
    assert rows == [{**dims, "n": 2}]


@pytest.mark.parametrize(("n", "errors"), [(1, 0), (1, 1), (20, 3), (1_000, 1_000), (5_000, 7)])
def test_the_error_rate_has_its_wilson_interval(client: Client, n: int, errors: int) -> None:
    insert(client, window(count=n, errors=errors, errors_by_type={"timeout": errors}))

    row = ask(client, "SELECT * FROM v_error_rate")[0]

    z, rate = 1.959963984540054, errors / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    assert row["rate"] == rate
    assert (row["low"], row["high"]) == pytest.approx((middle - half, middle + half), abs=1e-12)
    assert 0 <= row["low"] <= rate <= row["high"] <= 1
    assert row["enough"] == (n >= 20)


def test_an_empty_window_has_no_error_rate(client: Client) -> None:
    insert(client, window())

    row = ask(client, "SELECT rate, low, high FROM v_error_rate")[0]
    assert row == {"rate": None, "low": None, "high": None}


def alert(**fields: Any) -> Alert:
    known = {
        "alert_id": "slow/acme",
        "transition": 1,
        "rule": "slow",
        "rules_hash": "abc",
        "state": "firing",
        "severity": "warning",
        "origin": "live",
        "grouping": "tenant",
        "dims": {"tenant": "acme"},
        "metric": "latency_ms",
        "agg": "p95",
        "op": ">",
        "threshold": 2_000.0,
        "value": 2_500.5,
        "sample_count": 30,
        "window_s": 60,
        "window_end_us": NOW_US,
        "starts_at_us": NOW_US,
        "trigger_event_at_us": NOW_US - 250_500,
        "evaluated_at_us": NOW_US,
    }
    return Alert.model_validate({**known, **fields})


def test_an_alert_tells_its_series_and_its_delay(client: Client) -> None:
    insert(client, alert())

    row = ask(client, "SELECT tenant, endpoint, state, value, delay_ms, latest FROM v_alerts")[0]
    assert row == {
        "tenant": "acme",
        "endpoint": "",
        "state": "firing",
        "value": 2_500.5,
        "delay_ms": 250.5,
        "latest": True,
    }


def test_only_the_last_change_of_an_alert_is_the_latest(client: Client) -> None:
    resolved = alert(transition=2, state="resolved", ends_at_us=NOW_US, value=None)
    insert(client, alert(), resolved, alert(), alert(alert_id="slow/other"))

    rows = ask(client, "SELECT alert_id, state, latest FROM v_alerts ORDER BY alert_id, transition")
    assert [tuple(row.values()) for row in rows] == [
        ("slow/acme", "firing", False),
        ("slow/acme", "resolved", True),
        ("slow/other", "firing", True),
    ]


def test_a_question_about_one_hour_reads_by_the_key(client: Client) -> None:
    insert(client, *(window([1], window_start=START - 60 * number) for number in range(50)))

    plan = client.query(
        "EXPLAIN indexes = 1 SELECT * FROM v_latency WHERE grouping = 'tenant'"
        " AND window_s = 60 AND window_start >= now() - INTERVAL 1 HOUR"
    )
    told = "\n".join(str(row[0]) for row in plan.result_rows)
    keys = re.search(r"PrimaryKey\s+Keys:(.*?)Condition", told, re.DOTALL)
    assert keys is not None
    assert re.findall(r"grouping|window_s\b|window_start", keys[1]) == [
        "grouping",
        "window_s",
        "window_start",
    ]


def test_the_question_of_the_page_gives_percentiles_over_any_windows(client: Client) -> None:
    chance = random.Random(3)
    parts = [[chance.randrange(10**7) for _ in range(50)] for _ in range(6)]
    insert(client, *(window(part, window_start=START - 60 * n) for n, part in enumerate(parts)))
    sql = re.search(r"```sql\n([^`]*bc_quantile.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert sql is not None

    rows = ask(client, sql[1])

    every = [duration_us for part in parts for duration_us in part]
    expected = quantile(histogram(every), 950, least=min(every), most=max(every))
    assert [row["p95_ms"] for row in rows] == [expected / 1000]
