"""The board of `top`: what it knows, and that it fits."""

import io
from typing import Any

import pytest
from rich.console import Console

from backchannel.clock import ManualClock
from backchannel.events import Alert, Window, bucket_of
from backchannel_deploy.status.state import Freshness, Reader, Status
from backchannel_deploy.top.board import Board
from backchannel_deploy.top.view import View

NOON_S = 1_700_000_000
NOON_US = NOON_S * 1_000_000
STATUS = Status(
    (Reader("worker", "backchannel-processors", "Stable", 12_345, True),),
    (Freshness("events", 1.5, 100), Freshness("metric_windows", 2.5, 10)),
    lost=3,
    dropped={},
    dead_letters=0,
    firing=(),
    last_alert=None,
)


def window(tenant: str = "", *, start: int = 0, **fields: Any) -> Window:
    found = {
        "origin": "live",
        "grouping": "tenant" if tenant else "",
        "dims": {"tenant": tenant} if tenant else {},
        "window_s": 10,
        "window_start": NOON_S + 10 * start,
        "revision": 2,
        "final": False,
        "complete": True,
        "count": 100,
        "errors": 10,
        "input_tokens": 900,
        "output_tokens": 100,
        "latency_count": 100,
        **{f"latency_{n}_us": 1_000_000 for n in ("min", "max", "mean", "p50", "p90", "p95")},
        "latency_p99_us": 1_000_000,
        "latency_sum_us": 100_000_000,
        "latency_buckets": {bucket_of(1_000_000): 100},
        "newest_event_at_us": NOON_US,
        "published_at_us": NOON_US,
        **fields,
    }
    return Window.model_validate(found)


def alert(name: str, state: str, **fields: Any) -> Alert:
    found = {
        "alert_id": name,
        "transition": 1,
        "rule": f"rule-{name}",
        "rules_hash": "h",
        "state": state,
        "severity": "error",
        "metric": "latency_ms",
        "agg": "p95",
        "op": ">",
        "threshold": 5000,
        "window_s": 10,
        "dims": {},
        "value": 6400.0,
        "sample_count": 20,
        "origin": "live",
        "grouping": "",
        "window_end_us": NOON_US,
        "starts_at_us": NOON_US,
        "trigger_event_at_us": NOON_US,
        "evaluated_at_us": NOON_US,
        **fields,
    }
    return Alert.model_validate(found)


def drawn(board: Board, *, width: int = 80, height: int = 24, at_s: int = 20) -> list[str]:
    clock = ManualClock(NOON_US + at_s * 1_000_000)
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(View(board, "127.0.0.1:19092", clock))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def busy(series: int) -> Board:
    board = Board("tenant")
    for start in range(2):
        board.take_window(window(start=start))
        for number in range(series):
            board.take_window(window(f"tenant-{number}", start=start, count=100 - number))
    board.status = STATUS
    return board


def test_a_row_says_the_last_seconds_and_the_busiest_comes_first() -> None:
    first, second = busy(2).series(NOON_US + 20_000_000)

    assert (first.name, second.name) == ("tenant-0", "tenant-1")
    assert first.now.turns_a_s == pytest.approx(10)
    assert first.now.error_share == pytest.approx(0.1)
    assert first.now.p99_us == 1_000_000
    assert first.trend == (100, 100)


def test_a_cost_is_not_zero_while_no_turn_has_a_price() -> None:
    board = Board("tenant")
    board.take_window(window("acme"))
    board.take_window(window("shop", priced=1, cost_picousd=10**12))

    costs = {row.name: row.now.cost_usd_an_hour for row in board.series(NOON_US + 10_000_000)}
    assert costs == {"acme": None, "shop": pytest.approx(360)}


def test_an_older_revision_a_replay_and_another_grouping_change_nothing() -> None:
    board = busy(1)
    board.take_window(window("tenant-0", start=1, revision=1, count=7))
    board.take_window(window("tenant-0", start=1, revision=3, count=7, origin="replay:1"))
    board.take_window(window(grouping="model", dims={"model": "m"}))

    (row,) = board.series(NOON_US + 20_000_000)
    assert row.trend == (100, 100)


def test_a_series_without_traffic_for_a_minute_is_not_shown() -> None:
    board = busy(1)
    assert board.series(NOON_US + 90_000_000) == []
    assert board.total(NOON_US + 90_000_000) is None


def test_what_fires_comes_first_and_what_is_resolved_stays_to_be_seen() -> None:
    board = Board("tenant")
    board.take_alert(alert("old", "firing"))
    board.take_alert(alert("new", "firing", evaluated_at_us=NOON_US + 1))
    board.take_alert(alert("over", "firing"))
    board.take_alert(alert("over", "resolved", transition=2))
    board.take_alert(alert("never seen firing", "resolved"))

    assert [each.alert_id for each in board.alerts()] == ["new", "old", "over"]
    assert board.firing == 2


@pytest.mark.parametrize("series", [0, 3, 40])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_it_fits_the_terminal_however_much_there_is(series: int, width: int, height: int) -> None:
    board = busy(series)
    for number in range(9):
        board.take_alert(alert(f"a-rule-with-quite-a-long-name-{number}", "firing"))

    lines = drawn(board, width=width, height=height)

    assert len(lines) == height - 1
    assert all(len(line) <= width for line in lines)


def test_it_tells_who_is_behind_what_is_lost_and_how_many_series_there_are_more() -> None:
    told = "\n".join(drawn(busy(40)))

    for part in ("12.3k behind", "events 1.5 s old", "lost 3", "and 34 more", "0 firing"):
        assert part in told


def test_what_cannot_be_asked_for_is_said_and_the_rest_is_shown() -> None:
    board = busy(1)
    board.trouble = "ClickHouse at http://localhost:8123 gives no answer"
    told = "\n".join(drawn(board))

    assert board.trouble in told
    assert "tenant-0" in told
