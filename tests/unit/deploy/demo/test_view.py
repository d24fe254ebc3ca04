"""The live view: what it knows, and that it fits."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from backchannel.clock import ManualClock
from backchannel.events import Alert, Window, bucket_of
from backchannel_deploy.demo.board import Board, Counts, Heard
from backchannel_deploy.demo.timeline import TENANTS, Timeline
from backchannel_deploy.demo.view import LiveView, status_line

START_US = 1_700_000_000_000_000


def window(tenant: str = "", *, index: int = 0, revision: int = 2, **fields: Any) -> Window:
    count = 100
    return Window.model_validate(
        {
            "origin": "live",
            "grouping": "tenant" if tenant else "",
            "dims": {"tenant": tenant} if tenant else {},
            "window_s": 10,
            "window_start": START_US // 1_000_000 + 10 * index,
            "revision": revision,
            "final": False,
            "complete": True,
            "count": count,
            "errors": 10,
            "input_tokens": 9_000,
            "output_tokens": 1_000,
            "latency_count": count,
            "latency_sum_us": count * 1_000_000,
            "latency_min_us": 1_000_000,
            "latency_max_us": 1_000_000,
            "latency_mean_us": 1_000_000,
            "latency_p50_us": 1_000_000,
            "latency_p90_us": 1_000_000,
            "latency_p95_us": 1_000_000,
            "latency_p99_us": 1_000_000,
            "latency_buckets": {bucket_of(1_000_000): count},
            "newest_event_at_us": START_US,
            "published_at_us": START_US,
        }
        | fields
    )


def alert(transition: int, evaluated_at_us: int = START_US + 1) -> Heard:
    alert = Alert.model_validate(
        {
            "alert_id": "a",
            "transition": transition,
            "rule": "a-rule-with-quite-a-long-name",
            "rules_hash": "h",
            "state": "firing" if transition % 2 else "resolved",
            "severity": "error",
            "origin": "live",
            "grouping": "tenant",
            "dims": {"tenant": "globex"},
            "metric": "latency_ms",
            "op": ">",
            "threshold": 5_000,
            "value": 6_400,
            "sample_count": 300,
            "window_s": 20,
            "window_end_us": START_US,
            "starts_at_us": START_US,
            "trigger_event_at_us": START_US,
            "evaluated_at_us": evaluated_at_us,
        }
    )
    return Heard(alert, delay_us=180_000)


@pytest.fixture
def board() -> Board:
    return Board(START_US)


def full(board: Board) -> Board:
    board.counts = Counts(12_345_678, 12_345_670, 12_345_650, 12_345_600)
    board.rates.extend([n * 7919 % 1_300 for n in range(60)])
    for index in range(30):
        board.take_window(window(index=index))
        for tenant in TENANTS:
            board.take_window(window(tenant, index=index))
    for transition in range(1, 40):
        board.take_alert(alert(transition))
    return board


def test_a_newer_revision_replaces_and_an_older_one_changes_nothing(board: Board) -> None:
    for revision, count in ((4, 7), (6, 9), (2, 5)):
        board.take_window(window(revision=revision, count=count))

    assert board.counted == 9


@pytest.mark.parametrize(
    "other", [{"origin": "replay:1"}, {"window_s": 60}, {"window_start": START_US // 10**6 - 10}]
)
def test_windows_of_others_are_left_out(board: Board, other: dict[str, Any]) -> None:
    board.take_window(window(**other))

    assert board.counted == 0


def test_a_tenants_row_is_its_last_two_windows(board: Board) -> None:
    for index in range(3):
        board.take_window(window("acme", index=index))

    (row,) = board.tenants(START_US + 30_000_000)

    assert row.now.turns_a_s == pytest.approx(10)
    assert row.now.error_share == pytest.approx(0.1)
    assert row.now.tokens_a_min == pytest.approx(60_000)
    assert row.now.p95_us == 1_000_000
    assert len(row.p95_trend_us) == 3


def test_counts_are_settled_when_all_stations_have_the_same() -> None:
    assert Counts(5, 5, 5, 5).settled
    assert not any(
        counts.settled for counts in (Counts(5, 4, 4, 4), Counts(5, 5, 4, 5), Counts(5, 5, 5, 4))
    )


def test_what_burns_is_what_did_not_end(board: Board) -> None:
    board.take_alert(alert(1))
    assert [alert.alert_id for alert in board.firing()] == ["a"]

    board.take_alert(alert(2))
    assert board.firing() == []


def test_an_alert_is_noted_once_and_only_of_this_demo(board: Board) -> None:
    taken = [
        board.take_alert(alert(1)),
        board.take_alert(alert(1)),
        board.take_alert(alert(2)),
        board.take_alert(alert(3, START_US - 1)),
    ]

    assert taken == [True, False, True, False]


def heights_and_widths(board: Board) -> Iterator[tuple[int, int]]:
    clock = ManualClock(START_US)
    for _ in range(12):
        file = io.StringIO()
        console = Console(file=file, width=80, height=24, color_system=None)
        console.print(LiveView(board, Timeline(60), clock))
        lines = file.getvalue().splitlines()
        yield len(lines), max(map(len, lines))
        clock.advance(seconds=5)


def test_the_view_fits_a_terminal_of_80_by_24_and_keeps_its_height(board: Board) -> None:
    empty = set(heights_and_widths(board))
    filled = set(heights_and_widths(full(board)))

    (height,) = {height for height, _ in empty | filled}
    assert height < 24
    assert max(width for _, width in empty | filled) <= 80


def test_the_line_for_logs_says_how_far_the_events_have_come(board: Board) -> None:
    line = status_line(full(board), 75, START_US + 300_000_000)

    assert line.startswith("1:15  sent 12,345,678  in windows 12,345,650  in ClickHouse 12,345,600")
    assert "globex 1.0 s" in line


def test_the_incident_is_in_the_middle_and_over_in_time() -> None:
    timeline = Timeline(60)

    assert not timeline.incident(0)
    assert timeline.incident(timeline.incident_from_s)
    assert not timeline.incident(timeline.incident_until_s)
    assert timeline.incident_until_s < 30


def test_the_load_swings_around_one() -> None:
    loads = [Timeline(60).load(second) for second in range(60)]

    assert sum(loads) / 60 == pytest.approx(1, abs=0.01)
    assert min(loads) > 0.5
    assert max(loads) > 1.2
