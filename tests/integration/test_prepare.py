"""Topics and tables in one step, on the real parts, and what a person is told when one is away."""

import socket

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.prices.rates import Rates, Step
from backchannel_deploy.errors import UserError
from backchannel_deploy.prepare import prepare, prepare_and_tell
from backchannel_deploy.prices.load import load_when_empty, replace
from backchannel_deploy.prices.rows import own_rows
from backchannel_sinks.clickhouse.connection import connect
from support.broker import BrokerProcess
from support.endpoint import ClickHouse

pytestmark = pytest.mark.integration


@pytest.fixture
def nobody() -> str:
    """An address that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(autouse=True)
def own_database(clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHANNEL_DATABASE", clickhouse.database)


async def test_what_was_missing_is_told_once(kafka: BrokerProcess, clickhouse: ClickHouse) -> None:
    told = await prepare_and_tell(kafka.bootstrap, clickhouse.url)
    again = await prepare_and_tell(kafka.bootstrap, clickhouse.url)

    assert "Applied the migration 0001 events." in told
    assert again == []
    client = connect(clickhouse.url, clickhouse.database)
    assert client.command("SELECT count() FROM v_latency") == 0
    known = client.query("SELECT DISTINCT model FROM v_prices WHERE model = 'gpt-4o'").result_rows
    assert known == [("gpt-4o",)]
    client.close()


def test_published_prices_never_come_beside_own_ones(analyst: Client) -> None:
    own = next(
        own_rows({"gpt-4o": Rates((Step(above_input_tokens=-1, input=1),), "custom_table", "mine")})
    )
    replace(analyst, "custom_table", [own])

    assert load_when_empty(analyst) is None
    assert analyst.command("SELECT count() FROM prices") == 1


async def test_a_kafka_that_is_away_is_told_in_a_sentence(
    nobody: str, clickhouse: ClickHouse
) -> None:
    with pytest.raises(UserError, match=f"Kafka at {nobody} gives no answer"):
        await prepare(nobody, clickhouse.url)


async def test_a_clickhouse_that_is_away_is_told_without_its_password(
    kafka: BrokerProcess, nobody: str
) -> None:
    with pytest.raises(UserError, match=f"ClickHouse at http://{nobody} gives no") as caught:
        await prepare(kafka.bootstrap, f"http://ana:s3cret-canary@{nobody}")
    assert "s3cret-canary" not in str(caught.value)
