"""`backchannel dead`, as somebody uses it: a real broker, a real sink, a real ClickHouse."""

import asyncio
from collections.abc import Callable
from contextlib import closing

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, encode_event
from backchannel.events.topics import EVENTS
from backchannel_deploy.cli.app import run
from support.broker import BrokerProcess
from support.endpoint import ClickHouse
from support.rows_of_events import rows
from support.sink_process import SinkFactory, feeder, prepare, sink_factory
from support.stack import eventually

__all__ = ["sink_factory"]

pytestmark = pytest.mark.integration

GOOD = encode_event(Interaction(conversation_id="c-1", duration_us=1200))
BAD = GOOD.replace(b'"duration_us":1200', b'"duration_us":"1200"')


async def test_a_mended_letter_comes_back_once_however_often_it_is_sent(
    private_kafka: Callable[[], BrokerProcess],
    clickhouse: ClickHouse,
    sink_factory: SinkFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka = private_kafka().bootstrap
    await prepare(kafka, clickhouse)
    monkeypatch.setenv("BACKCHANNEL_KAFKA", kafka)
    monkeypatch.setenv("BACKCHANNEL_CLICKHOUSE", clickhouse.url)
    monkeypatch.setenv("BACKCHANNEL_DATABASE", clickhouse.database)
    sink = sink_factory(kafka, clickhouse)
    sink.start()

    async def dead(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(run, ["dead", *arguments])
        return code, capsys.readouterr().out

    def stored() -> list[tuple[str, int]]:
        with closing(clickhouse.client()) as client:
            found = client.query("SELECT _producer, duration_us FROM events").result_rows
            return [(str(producer), int(us)) for producer, us in found]

    def waiting() -> int:
        with closing(clickhouse.client()) as client:
            return int(client.query("SELECT count() FROM dead_letters").result_rows[0][0])

    async with feeder(kafka) as bot:
        await bot.kafka.send_and_wait(EVENTS.name, BAD, partition=3)
    await asyncio.to_thread(eventually, waiting, 1)

    _, listed = await dead("list", "-f", "csv")
    assert '"chat.events/3/0/0"' in listed
    assert (await dead("requeue", "--all"))[0] == 1  # it is no event yet
    mending = ("requeue", "chat.events/3/0/0", "--set", "duration_us=1200")
    # The second run comes before the sink may have stored the first: its number gives it away.
    for _ in range(2):
        code, told = await dead(*mending)
        assert code == 0
    await asyncio.to_thread(eventually, lambda: [us for _, us in stored()], [1200])
    assert stored()[0][0].startswith("dead:chat.events/3/0/0@")

    code, told = await dead(*mending)
    assert (code, told.split(",")[0]) == (0, "0 letters sent back")
    assert "1 stored before" in told
    sink.stop()
    assert len(stored()) == 1


def test_the_view_says_what_is_whole_and_what_was_sent_back(analyst: Client) -> None:
    at_ms = SYSTEM_CLOCK.now_us() // 1000
    analyst.command(
        "INSERT INTO dead_letters (topic, partition, offset, line, reason, stage, broker_time,"
        " value, value_sha256) SELECT 'chat.events', 3, number, 0, 'r', 'sink',"
        " fromUnixTimestamp64Milli({at_ms:Int64}), 'x',"
        " if(number = 0, lower(hex(SHA256('x'))), 'another') FROM numbers(2)",
        parameters={"at_ms": at_ms},
    )
    analyst.command(
        "INSERT INTO events (event_type, event_id, _producer, _pseq, _broker_time)"
        " SELECT 'marker', generateUUIDv4(), {producer:String}, 1, now()",
        parameters={"producer": f"dead:chat.events/3/0/0@{at_ms}"},
    )

    assert rows(
        analyst, "SELECT letter, whole, requeued, producer FROM v_dead_letters ORDER BY offset"
    ) == [
        {
            "letter": f"chat.events/3/{offset}/0",
            "whole": offset == 0,
            "requeued": offset == 0,
            "producer": f"dead:chat.events/3/{offset}/0@{at_ms}",
        }
        for offset in range(2)
    ]
