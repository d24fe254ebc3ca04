"""Kills the notifier (SIGKILL) while alerts come and receivers misbehave: none is lost."""

import asyncio
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest
from aiokafka import AIOKafkaProducer

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Alert
from backchannel.events.topics import ALERTS, TOPICS
from backchannel_deploy.topics import ensure_topics
from support.alerts import an_alert, resolved
from support.broker import BrokerProcess
from support.notifier_process import SECRET, NotifierFactory
from support.receiver import Received, Receiver
from support.stack import eventually

pytestmark = [pytest.mark.integration, pytest.mark.consistency]

FULL = os.environ.get("BACKCHANNEL_FAULTS") == "full"
KILLS = 12 if FULL else 1
ALERTS_BETWEEN_KILLS = 30

PLAN = """
[target.good]
webhook = "URL/ok"
secrets = ["SECRET"]
allow = ["127.0.0.0/8"]
per_minute_max = 10000

[target.flaky]
webhook = "URL/flaky/5"
body = "alertmanager"
allow = ["127.0.0.0/8"]
per_minute_max = 10000

[[route]]
to = ["good", "flaky"]
group_by = ["rule"]
group_interval = "1s"
"""


async def publish(bootstrap: str, alerts: Sequence[Alert]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for alert in alerts:
            value = alert.model_dump_json().encode()
            await producer.send(ALERTS.name, value, key=alert.alert_id.encode())
            await producer.flush()
            await asyncio.sleep(0.01)


def last_told(messages: Sequence[Received]) -> dict[str, str]:
    """Returns the last state that was told of each alert, by the body of Alertmanager or ours."""
    told: dict[str, str] = {}
    for message in messages:
        body = message.json
        for alert in body.get("alerts") or body["data"]["alerts"]:
            name = alert["labels"]["tenant"] if "labels" in alert and "status" in alert else None
            told[name or alert["dims"]["tenant"]] = alert.get("status") or alert["state"]
    return told


@pytest.fixture
def broker(private_kafka: Callable[[], BrokerProcess]) -> BrokerProcess:
    started = private_kafka()
    asyncio.run(ensure_topics(started.bootstrap, clock=SYSTEM_CLOCK, topics=TOPICS))
    return started


def test_no_alert_is_lost_however_often_the_notifier_is_killed(
    broker: BrokerProcess, notifier_factory: NotifierFactory, receiver: Receiver
) -> None:
    chance = random.Random(11)
    notifier = notifier_factory(broker.bootstrap, PLAN, slot="one", session_timeout_s="6")
    notifier.start()
    notifier.wait_until_logged("notifier_took_over")
    expected: dict[str, str] = {}
    for kill in range(KILLS):
        alerts: list[Alert] = []
        for number in range(ALERTS_BETWEEN_KILLS):
            tenant = f"t{kill}-{number}"
            rule = f"rule-{number % 5}"
            alert = an_alert(rule, tenant, at_us=SYSTEM_CLOCK.now_us())
            alerts += [alert, resolved(alert)] if number % 3 == 0 else [alert]
            expected[tenant] = alerts[-1].state
        asyncio.run(publish(broker.bootstrap, alerts))
        time.sleep(chance.uniform(0, 0.5))
        notifier.kill()
        notifier.start()
        notifier.wait_until_logged("notifier_took_over", times=kill + 2)

    eventually(lambda: last_told(receiver.at("ok")), expected, timeout_s=60)
    eventually(lambda: last_told(receiver.at("flaky/5")[5:]), expected, timeout_s=60)
    bodies = defaultdict(set)
    for message in receiver.got:
        bodies[message.id].add(message.body)
    assert {len(each) for each in bodies.values()} == {1}
    assert SECRET not in notifier.log()
    assert receiver.url("") not in notifier.log()
    assert notifier.stop() == 0


@pytest.mark.skipif(not FULL, reason="make faults: a broker is killed and comes back")
def test_a_broker_that_is_killed_is_told_and_what_comes_afterwards_too(
    broker: BrokerProcess, notifier_factory: NotifierFactory, receiver: Receiver
) -> None:
    notifier = notifier_factory(broker.bootstrap, PLAN, session_timeout_s="6", pipeline_down_s="5")
    notifier.start()
    notifier.wait_until_logged("notifier_took_over")
    broker.kill()
    eventually(lambda: "pipeline_down" in titles(receiver), True, timeout_s=60)
    broker.start()
    notifier.wait_until_logged("notifier_took_over", times=2)
    asyncio.run(publish(broker.bootstrap, [an_alert("afterwards", at_us=SYSTEM_CLOCK.now_us())]))
    eventually(lambda: "afterwards" in titles(receiver), True, timeout_s=60)
    assert notifier.stop() == 0


def titles(receiver: Receiver) -> str:
    """Returns all that was told to the receiver that takes everything."""
    return " ".join(message.json["data"]["title"] for message in receiver.at("ok"))
