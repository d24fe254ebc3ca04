"""The notifier as a process, between a real broker and a real receiver."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from aiokafka import AIOKafkaProducer

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Alert
from backchannel.events.topics import ALERTS, TOPICS
from backchannel_deploy.topics import ensure_topics
from support.alerts import an_alert
from support.broker import BrokerProcess
from support.notifier_process import NotifierFactory
from support.receiver import Receiver
from support.stack import eventually

pytestmark = pytest.mark.integration

PLAN = """
[target.hook]
webhook = "URL/ok"
secrets = ["SECRET"]
allow = ["127.0.0.0/8"]
per_minute_max = 1000
"""


@pytest.fixture
def broker(private_kafka: Callable[[], BrokerProcess]) -> BrokerProcess:
    started = private_kafka()
    asyncio.run(ensure_topics(started.bootstrap, clock=SYSTEM_CLOCK, topics=TOPICS))
    return started


def publish(broker: BrokerProcess, alerts: Sequence[Alert]) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
            for alert in alerts:
                value = alert.model_dump_json().encode()
                await producer.send(ALERTS.name, value, key=alert.alert_id.encode())
            await producer.flush()

    asyncio.run(send())


def test_an_alert_reaches_a_webhook(
    broker: BrokerProcess, notifier_factory: NotifierFactory, receiver: Receiver
) -> None:
    notifier = notifier_factory(broker.bootstrap, PLAN)
    notifier.start()
    notifier.wait_until_logged("notifier_took_over")
    publish(broker, [an_alert(at_us=SYSTEM_CLOCK.now_us())])
    eventually(lambda: len(receiver.at("ok")), 1, timeout_s=20)

    assert receiver.got[0].json["type"] == "alert.firing"
    assert notifier.stop() == 0
