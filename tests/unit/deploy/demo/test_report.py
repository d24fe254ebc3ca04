"""The end of the demo, as it is read."""

from rich.console import Console

from backchannel.events import Alert
from backchannel_deploy.demo.answers import QUESTIONS, Answer, Proof
from backchannel_deploy.demo.board import Heard
from backchannel_deploy.demo.report import print_report


def alert(transition: int, state: str, at_us: int) -> Heard:
    alert = Alert.model_validate(
        {
            "alert_id": "a",
            "transition": transition,
            "rule": "latency-p95",
            "rules_hash": "h",
            "state": state,
            "severity": "warning",
            "origin": "live",
            "grouping": "tenant",
            "dims": {"tenant": "globex"},
            "metric": "latency_ms",
            "agg": "p95",
            "op": ">",
            "threshold": 5_000.0,
            "value": 8_100.0,
            "sample_count": 300,
            "window_s": 20,
            "window_end_us": 0,
            "starts_at_us": 100_000_000,
            "ends_at_us": at_us if state == "resolved" else None,
            "trigger_event_at_us": at_us - 180_000,
            "evaluated_at_us": at_us,
        }
    )
    return Heard(alert, delay_us=180_000)


def report(proof: Proof, *alerts: Heard) -> str:
    console = Console(width=80, color_system=None, record=True, highlight=False)
    answer = Answer(QUESTIONS[0], [{"name": "n", "type": "UInt64"}], [[7]])
    with console.capture() as captured:
        print_report(console, [answer], proof, alerts)
    return captured.get()


def test_it_shows_the_sql_with_its_answer() -> None:
    text = report(Proof(1, 1, 1))

    assert QUESTIONS[0].text in text
    assert all(line.strip() in text for line in QUESTIONS[0].sql.splitlines())


def test_every_line_fits_80_columns() -> None:
    text = report(Proof(10**9, 10**9, 10**9), alert(1, "firing", 100_000_000))

    assert max(map(len, text.splitlines())) <= 80
    for question in QUESTIONS:
        asked = question.sql.format(since="2026-11-21 10:22:00")
        assert max(map(len, asked.splitlines())) <= 80


def test_an_alert_has_its_delay_and_how_long_it_burnt() -> None:
    text = report(
        Proof(1, 1, 1), alert(1, "firing", 100_000_000), alert(2, "resolved", 121_000_000)
    )

    assert "180 ms" in text
    assert "21.0 s" in text


def test_an_alert_that_did_not_end_says_so() -> None:
    assert "still firing" in report(Proof(1, 1, 1), alert(1, "firing", 100_000_000))


def test_no_alert_is_said() -> None:
    assert "None fired." in report(Proof(1, 1, 1))


def test_counts_that_differ_are_said() -> None:
    assert "nothing is missing" in report(Proof(5, 5, 5))
    assert "they differ" in report(Proof(5, 5, 4))
