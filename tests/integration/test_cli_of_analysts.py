"""What an analyst asks on the command line, against the real engine and the real price table."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]  # it publishes no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it publishes no types
import pytest
from clickhouse_connect.driver.client import Client
from urllib3.exceptions import ProtocolError

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Feedback, Interaction
from backchannel.prices.genai_table import GenaiTable
from backchannel_deploy.cli.app import run
from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.errors import UserError
from backchannel_deploy.prices.load import names_in_events, replace
from backchannel_deploy.prices.rows import Name, published_rows
from support.endpoint import EndpointProcess
from support.rows_of_events import insert_events, rows

pytestmark = pytest.mark.integration

NOW_US = SYSTEM_CLOCK.now_us()


@pytest.fixture
def client(
    analyst: Client, shared_endpoint: EndpointProcess, monkeypatch: pytest.MonkeyPatch
) -> Client:
    """The analyst's client; commands go to the same database."""
    monkeypatch.setenv("BACKCHANNEL_CLICKHOUSE", shared_endpoint.url)
    monkeypatch.setenv("BACKCHANNEL_DATABASE", str(analyst.database))
    monkeypatch.setenv("COLUMNS", "200")
    return analyst


def turn(**fields: object) -> Interaction:
    known = {"ts_us": NOW_US - 60_000_000, "provider": "openai", "model": "gpt-4o"}
    return Interaction.model_validate({**known, **fields})


def own_prices(folder: Path, **prices: dict[str, int | float]) -> str:
    path = folder / "prices.json"
    path.write_text(json.dumps(prices))
    return str(path)


@pytest.mark.usefixtures("client")
def test_an_answer_that_is_broken_off_is_told_in_a_sentence() -> None:
    with pytest.raises(UserError, match="broke its answer off"), connected():
        raise ProtocolError("Connection broken")  # what reading piece by piece meets


@pytest.mark.parametrize("format_name", ["parquet", "arrow"])
def test_an_answer_comes_as_columns_for_other_programs(client: Client, format_name: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "backchannel_deploy", "sql"),
            *("SELECT number AS n, 'x' AS t FROM numbers(3)", "-f", format_name),
        ],
        env=dict(os.environ),
        capture_output=True,
        check=True,
    )

    answer = io.BytesIO(done.stdout)
    table = (
        pq.read_table(answer) if format_name == "parquet" else pa.ipc.open_stream(answer).read_all()
    )
    assert table.to_pydict() == {"n": [0, 1, 2], "t": ["x", "x", "x"]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sql", "  "], "There is no statement"),
        (["sql", "SELECT 1", "--watch", "-f", "csv"], "--watch shows tables"),
        (["sql", "SELECT 1", "--watch", "--every", "0"], "more than 0 seconds"),
        (
            ["sql", "SELECT * FROM v_top(dim='x', metric='turns', since='2020-01-01')"],
            "dim must be",
        ),
        (["whatif"], "Nothing would change"),
        (["whatif", "--cache-hits", "2"], "between 0 and 1"),
        (["whatif", "--to", "m", "--where", "nothing = 1"], "nothing"),
        (["report", "summary", "--hours", "0"], "at least 1"),
        (["prices", "import", "/nowhere.json"], "cannot be read"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_in_a_sentence(
    client: Client, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    insert_events(client, [turn()])

    assert run(arguments) == 1
    assert sentence in capsys.readouterr().err


def test_published_prices_are_loaded_for_the_names_that_events_have(client: Client) -> None:
    insert_events(
        client,
        [
            turn(model="gpt-4o-2024-08-06", input_tokens=1_000_000),
            turn(model="no-such-model", input_tokens=1),
        ],
    )
    names = names_in_events(client)
    assert names == {Name("openai", "gpt-4o-2024-08-06"), Name("openai", "no-such-model")}

    loaded = replace(client, "price_table", published_rows(GenaiTable(), names))

    assert (loaded.prices, loaded.removed) == (loaded.changed, 0)
    told = rows(client, "SELECT model, cost_status, cost_usd FROM v_cost ORDER BY model")
    assert [tuple(row.values()) for row in told][1] == ("no-such-model", "unpriced", None)
    assert told[0]["cost_status"] == "priced"
    assert told[0]["cost_usd"] > 0


def test_loading_the_same_prices_again_changes_nothing(client: Client) -> None:
    names = [Name("openai", "gpt-4o"), Name("google", "gemini-2.5-pro")]
    table = GenaiTable()
    first = replace(client, "price_table", published_rows(table, names))

    again = replace(client, "price_table", published_rows(table, names))
    fewer = replace(client, "price_table", published_rows(table, names[:1]))

    assert (first.changed, again.changed, again.removed) == (first.prices, 0, 0)
    assert (fewer.changed, fewer.removed) == (0, first.prices - fewer.prices)
    assert {r["model"] for r in rows(client, "SELECT model FROM v_prices")} == {"gpt-4o"}


def test_own_prices_are_loaded_shown_and_replaced(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    insert_events(client, [turn(model="mine", input_tokens=2), turn(model="old", input_tokens=1)])
    assert run(["prices", "missing", "-f", "jsonl"]) == 0
    missing = [json.loads(line)["model"] for line in capsys.readouterr().out.splitlines()]
    assert missing == ["mine", "old"]

    assert run(["prices", "import", own_prices(tmp_path, old={"input": 9})]) == 0
    assert run(["prices", "import", own_prices(tmp_path, mine={"input": 1.5})]) == 0

    assert "1 new or changed, 1 removed" in capsys.readouterr().out
    assert run(["prices", "list", "MIN", "-f", "csv"]) == 0
    assert '"*","mine"' in capsys.readouterr().out
    told = rows(client, "SELECT cost_picousd FROM v_cost ORDER BY model")
    assert [r["cost_picousd"] for r in told] == [3_000_000, None]


def test_litellms_table_is_taken_as_it_is(client: Client, tmp_path: Path) -> None:
    spec = {"sample_spec": {"input_cost_per_token": 0.0}}
    entry = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    path = tmp_path / "litellm.json"
    path.write_text(json.dumps({**spec, "openai/mine": entry}))
    insert_events(client, [turn(model="mine", input_tokens=2, output_tokens=1)])

    assert run(["prices", "import", str(path)]) == 0

    assert rows(client, "SELECT cost_picousd FROM v_cost") == [{"cost_picousd": 15_000_000}]


def test_whatif_tells_what_would_be_saved(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dollars: dict[str, dict[str, int | float]] = {"gpt-4o": {"input": 10}, "mini": {"input": 1}}
    prices = own_prices(tmp_path, **dollars)
    run(["prices", "import", prices])
    insert_events(
        client,
        [
            turn(input_tokens=1_000_000, intent="faq"),
            turn(input_tokens=1_000_000, intent="other"),
            turn(input_tokens=7, model="unheard-of", intent="faq"),
        ],
    )
    capsys.readouterr()

    asked = ["--to", "mini", "--where", "intent='faq' -- only these"]
    assert run(["whatif", *asked, "--cache-hits", "0.5", "-f", "jsonl"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["compared"], told["not_comparable"]) == (1, 1)
    assert (float(told["now_usd"]), float(told["then_usd"]), told["saved_percent"]) == (10, 0.5, 95)

    assert run(["whatif", *asked, "--origin", "replay:other", "-f", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["compared"] == 0


def test_the_summary_has_every_figure(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    insert_events(
        client,
        [
            turn(duration_us=1_000_000, conversation_id="c", input_tokens=4, cost_picousd=10**12),
            turn(duration_us=3_000_000, conversation_id="c", status="error"),
            Feedback(kind="rating", value=4_000_000),
            turn(ts_us=NOW_US - 3 * 3_600_000_000),
        ],
    )

    assert run(["report", "summary", "--hours", "2", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["traffic"] == {"turns": 2, "n": 2, "users": 0, "conversations": 1}
    assert told["response_time"]["mean_ms"] == 2_000
    assert (told["response_time"]["median_ms"], told["response_time"]["max_ms"]) == (1_000, 3_000)
    assert told["token_usage"] == {"total": 4, "mean": 2, "max": 4}
    assert told["error_rate"]["rate"] == 0.5
    assert told["user_satisfaction"] == {"n": 1, "mean_rating": 4}
    assert told["conversation_length"] == {"mean_turns": 2}
    assert told["cost"] == {"total_usd": 1, "mean_usd": 1, "unpriced": 0}


def test_a_summary_of_nothing_says_so(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "summary", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["traffic"]["n"], told["response_time"]["p95_ms"]) == (0, None)
    assert (told["error_rate"]["rate"], told["cost"]["mean_usd"]) == (None, None)
    assert run(["report", "summary"]) == 0
    assert "response_time" in capsys.readouterr().out
