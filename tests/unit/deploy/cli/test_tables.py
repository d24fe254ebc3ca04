"""Answers, errors, numbers and alerts as they are shown."""

import pytest
from rich.console import Console, RenderableType

from backchannel.events import Alert
from backchannel_deploy.cli.alert_line import alert_line
from backchannel_deploy.cli.amounts import amount, compact, seconds_of
from backchannel_deploy.cli.clickhouse import error_sentence
from backchannel_deploy.cli.tables import ROWS_MAX, for_people, result_table, text_table

COLUMNS = [{"name": "tenant", "type": "LowCardinality(String)"}, {"name": "n", "type": "UInt64"}]


def shown(what: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_numbers_stand_on_the_right_and_names_on_the_left() -> None:
    lines = shown(result_table(COLUMNS, [["acme", "7"], ["globex", "12345"]])).splitlines()

    assert lines[0].split() == ["tenant", "n"]
    assert lines[2].startswith("acme ")
    assert lines[2].rstrip().endswith("    7")
    assert lines[-1] == "2 rows"


def test_values_that_look_like_markup_are_shown_as_they_are() -> None:
    assert "[red]x[/red]" in shown(result_table(COLUMNS, [["[red]x[/red]", None]]))


def test_a_long_answer_is_cut_and_says_so() -> None:
    text = shown(result_table(COLUMNS, [["t", n] for n in range(ROWS_MAX + 5)]))

    assert "… and 5 more rows" in text


def test_a_narrow_terminal_loses_no_characters() -> None:
    text = shown(result_table(COLUMNS, [["x" * 100, 1]]), width=40)

    assert text.count("x") == 100
    assert max(map(len, text.splitlines())) <= 40


def test_what_a_terminal_has_no_room_for_is_shown_as_records() -> None:
    columns = [{"name": f"column_{n}", "type": "DateTime64(6, 'UTC')"} for n in range(9)]

    text = shown(result_table(columns, [["2026-11-21 20:45:05.137015"] * 9]))

    assert text.splitlines()[8].rstrip() == "column_8  2026-11-21 20:45:05.137015"


def test_a_table_breaks_no_number_and_no_name_of_a_column() -> None:
    columns = [{"name": "what", "type": "String"}, {"name": "cost_picousd", "type": "UInt128"}]

    first, _, row, *_ = shown(result_table(columns, [["word " * 40, "9" * 25]]), 60).splitlines()

    assert first.split() == ["what", "cost_picousd"]
    assert row.split()[-1] == "9" * 25


def test_a_pipe_gets_lines_as_long_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for_people().print(text_table(["what"], [["x" * 300]]))

    assert "x" * 300 in capsys.readouterr().out


def test_an_error_of_clickhouse_is_its_first_sentence_and_code() -> None:
    message = (
        "HTTPDriver for http://127.0.0.1:1 returned response code 404\n Code: 60. DB::Exception: "
        "Unknown table expression identifier 'nothing'. (UNKNOWN_TABLE) "
        "(version 26.9.2.1 (official build))\n"
    )

    assert error_sentence(message) == (
        "Unknown table expression identifier 'nothing'. (UNKNOWN_TABLE) [code 60]"
    )


def test_durations_are_said_as_a_person_would() -> None:
    assert [seconds_of(us) for us in (0, 850_000, 6_400_000, 200_000_000)] == [
        "0 ms",
        "850 ms",
        "6.4 s",
        "3 min 20 s",
    ]


def test_counts_stay_short() -> None:
    assert [compact(n) for n in (0, 9_999, 12_400, 3_120_000)] == ["0", "9999", "12.4k", "3.1M"]


def test_an_amount_has_the_unit_of_its_metric() -> None:
    assert amount(0.051, "error_rate") == "5.1 %"


def alert(**fields: object) -> Alert:
    return Alert.model_validate(
        {
            "alert_id": "a",
            "transition": 1,
            "rule": "slow",
            "rules_hash": "h",
            "state": "firing",
            "severity": "error",
            "origin": "live",
            "grouping": "tenant",
            "dims": {"tenant": "[acme]"},
            "metric": "error_rate",
            "op": ">",
            "threshold": 0.05,
            "value": 0.25,
            "sample_count": 1_200,
            "window_s": 60,
            "window_end_us": 60_000_000,
            "starts_at_us": 50_000_000,
            "trigger_event_at_us": 50_000_000,
            "evaluated_at_us": 50_230_000,
        }
        | fields
    )


def test_a_firing_alert_says_what_where_how_much_and_how_late() -> None:
    line = alert_line(alert()).plain

    assert line.endswith("FIRING   slow tenant=[acme]  25.0 % > 5.0 %  +230 ms  n=1,200")


@pytest.mark.parametrize(
    ("reason", "told"), [("no_data", "traffic has stopped"), ("rule_gone", "its rule is gone")]
)
def test_an_alert_that_ends_without_a_value_says_why(reason: str, told: str) -> None:
    over = alert(state="resolved", reason=reason, value=None, grouping="", dims={})

    assert alert_line(over).plain.endswith(f"resolved slow  {told}")
