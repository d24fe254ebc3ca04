"""Content from a bot's hand into its own table, and nowhere else."""

import asyncio
from collections.abc import Callable

import pytest

from backchannel import Producer
from support.broker import BrokerProcess
from support.endpoint import ClickHouse
from support.sink_process import SinkFactory, prepare, sink_factory
from support.stack import eventually

__all__ = ["sink_factory"]

pytestmark = pytest.mark.integration


async def test_a_prompt_is_stored_with_its_event_and_only_in_content(
    private_kafka: Callable[[], BrokerProcess], clickhouse: ClickHouse, sink_factory: SinkFactory
) -> None:
    kafka = private_kafka().bootstrap
    await prepare(kafka, clickhouse)
    sink_factory(kafka, clickhouse).start()
    client = clickhouse.client()

    async with Producer(kafka, capture_content=True, health_interval_s=0) as producer:
        with producer.interaction(conversation_id="c", tenant_id="acme") as turn:
            turn.prompt("mail jane@example.org about the canary")
            turn.reply("done")
        assert await producer.flush(20) == 0
        stats = producer.stats()

    assert (stats.acked, stats.content.acked) == (1, 2)
    found = (
        "SELECT groupArray(tuple(c.part, c.text, c.tenant_id)) FROM"
        " (SELECT * FROM content FINAL ORDER BY part) AS c JOIN events USING (event_id)"
    )
    expected = [("prompt", "mail [email] about the canary", "acme"), ("reply", "done", "acme")]
    await asyncio.to_thread(
        eventually, lambda: [tuple(row) for row in client.query(found).result_rows[0][0]], expected
    )
    assert client.query(
        "SELECT countIf(toString(tuple(*)) LIKE '%canary%') FROM events"
    ).result_rows == [(0,)]
    client.close()
