"""Alerts and budgets as Python sees them, from a real broker."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from aiokafka import AIOKafkaProducer

from backchannel import Producer
from backchannel.alerts import subscribe
from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Alert, BudgetState, control_key
from backchannel_deploy.topics import ensure_topics
from support.broker import BrokerProcess
from support.rules import Series, rule_of

pytestmark = pytest.mark.integration


def changes(name: str) -> list[Alert]:
    """Returns one firing, and one end, of an alert that nobody else has."""
    rule = rule_of(metric="count", threshold=1, window="10s", min_samples=1)
    series = Series(rule.model_copy(update={"name": name}))
    series.at(0, 2)
    series.at(10, 1)
    return series.alerts


@pytest.fixture
async def broker(kafka: BrokerProcess) -> AsyncIterator[AIOKafkaProducer]:
    await ensure_topics(kafka.bootstrap, clock=SYSTEM_CLOCK)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        yield producer


async def say(broker: AIOKafkaProducer, *said: Alert | BudgetState) -> None:
    for each in said:
        value = each.model_dump_json().encode()
        if isinstance(each, Alert):
            await broker.send_and_wait("chat.alerts", value, key=each.alert_id.encode())
        else:
            await broker.send_and_wait("chat.control", value, key=control_key(each))


async def test_a_subscriber_gets_each_change_once(
    kafka: BrokerProcess, broker: AIOKafkaProducer
) -> None:
    firing, resolved = changes(f"subscribed-{os.getpid()}")
    heard: list[tuple[str, str]] = []

    async def listen() -> None:
        async for alert in subscribe(kafka.bootstrap, from_start=True):
            if alert.rule == firing.rule:
                heard.append((alert.rule, alert.state))
            if alert.state == "resolved" and alert.rule == firing.rule:
                return

    listening = asyncio.create_task(listen())
    await say(broker, firing, firing, resolved)
    async with asyncio.timeout(20):
        await listening
    assert heard == [(firing.rule, "firing"), (firing.rule, "resolved")]


async def test_a_group_gets_again_only_what_it_had_not_taken(
    kafka: BrokerProcess, broker: AIOKafkaProducer
) -> None:
    name = f"grouped-{os.getpid()}"
    told = changes(name)
    await say(broker, *told)  # of one alert, so in one partition and in order

    async def first_of_group() -> str:
        async with (
            asyncio.timeout(30),
            aclosing(subscribe(kafka.bootstrap, group=name)) as alerts,
        ):
            async for alert in alerts:
                if alert.rule == name:
                    return alert.state
        raise AssertionError("it goes on for ever")

    assert await first_of_group() == "firing"  # not taken: it did not ask for the next one
    assert await first_of_group() == "firing"


async def test_a_bot_knows_what_fires_and_what_is_spent(
    kafka: BrokerProcess, broker: AIOKafkaProducer
) -> None:
    firing, _ = changes(f"known-{os.getpid()}")
    spent = BudgetState(
        alert_id=f"budget-{os.getpid()}",
        rule="spent",
        dims={"tenant": f"t{os.getpid()}"},
        metric="tokens",
        spent=120.0,
        limit=100.0,
        evaluated_at_us=SYSTEM_CLOCK.now_us(),
    )
    await say(broker, firing, spent)
    async with Producer(kafka.bootstrap) as producer:
        async with asyncio.timeout(20):
            while not producer.alerts.current:  # noqa: ASYNC110 -- what a bot would do
                await asyncio.sleep(0.05)
        assert producer.alerts.firing(firing.rule) == (firing,)
        assert producer.budget(tenant=f"t{os.getpid()}") == spent
        assert producer.budget("nobody") is None
