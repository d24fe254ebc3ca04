"""The notifier on a real broker, as tasks of the test: nobody kills it here."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import AgentReport, Alert, DeadLetter, Silence, control_key
from backchannel.events.topics import ALERTS, CONTROL, DEAD, EVENTS, METRICS, TOPICS
from backchannel_deploy.topics import ensure_topics
from backchannel_sinks.notifier.message import Message
from backchannel_sinks.notifier.pipeline_kafka import Outbox
from backchannel_sinks.notifier.pipeline_watch import PIPELINE_DOWN
from backchannel_sinks.notifier.run import run_notifier
from backchannel_sinks.notifier.settings import NotifierSettings
from support.alerts import a_message, an_alert, resolved
from support.broker import BrokerProcess, free_ports, unique

pytestmark = pytest.mark.integration

WORKERS = "backchannel-processors"


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerProcess]:
    """A broker with the topics, for the tests of this file."""
    folder = Path(tempfile.mkdtemp(prefix="backchannel-kafka-"))
    started = BrokerProcess(folder)
    try:
        started.start()
        asyncio.run(ensure_topics(started.bootstrap, clock=SYSTEM_CLOCK, topics=TOPICS))
        yield started
    finally:
        started.kill()
        shutil.rmtree(folder, ignore_errors=True)


class Told:
    """A target in memory."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._news = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        self._news.set()

    def states(self, rule: str) -> list[str]:
        """What was said of a rule, in order."""
        return [each.status for each in self.messages if each.group["rule"] == rule]

    async def after(self, *rules: str) -> list[dict[str, int]]:
        """Waits for messages about so many rules, and returns their news."""
        async with asyncio.timeout(30):
            while not set(rules) <= {each.group["rule"] for each in self.messages}:
                self._news.clear()
                await self._news.wait()
        return [each.news for each in self.messages if each.group["rule"] in rules]


PLAN = """
[target.team]
apprise = "json://localhost"
[[route]]
rules = ["RULE*", "pipeline_down"]
to = ["team"]
group_interval = "1s"
"""


class Runner:
    """Notifiers of one group, one target each, which is told of rules that begin with ``rule``."""

    def __init__(self, broker: BrokerProcess, folder: Path) -> None:
        self.bootstrap = broker.bootstrap
        self.group = unique("notifier")
        self.rule = unique("rule")
        self.file = folder / "notifier.toml"
        self.file.write_text(PLAN.replace("RULE", self.rule))

    @asynccontextmanager
    async def notifier(self, **settings: Any) -> AsyncIterator[Told]:
        told, stop = Told(), asyncio.Event()
        known: dict[str, Any] = {
            "kafka": self.bootstrap,
            "notifier_file": self.file,
            "notifier_group": self.group,
            "session_timeout_s": 6,
        }
        running = asyncio.ensure_future(
            run_notifier(
                NotifierSettings(**known | settings),
                stop,
                senders=lambda plan: dict.fromkeys(plan.target, told),
            )
        )
        try:
            yield told
        finally:
            stop.set()
            await running

    def alert(self, name: str, **fields: Any) -> Alert:
        return an_alert(f"{self.rule}-{name}", at_us=SYSTEM_CLOCK.now_us(), **fields)

    async def publish(self, *alerts: Alert) -> None:
        for alert in alerts:
            key = alert.alert_id.encode()
            await self.send(ALERTS.name, alert.model_dump_json().encode(), key)

    async def send(self, topic: str, value: bytes, key: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            await producer.send_and_wait(topic, value, key=key)

    async def reported(self, said: Callable[[AgentReport], bool]) -> AgentReport:
        """Waits until a notifier of the group says something of itself."""
        consumer = AIOKafkaConsumer(METRICS.name, bootstrap_servers=self.bootstrap)
        async with asyncio.timeout(30), consumer:
            async for record in consumer:
                report = AgentReport.model_validate_json(record.value)
                if said(report):
                    return report
        raise AssertionError("a consumer iterates for ever")


@pytest.fixture
def runner(broker: BrokerProcess, tmp_path: Path) -> Runner:
    return Runner(broker, tmp_path)


async def test_a_new_notifier_tells_what_fires_and_goes_on_with_what_comes(runner: Runner) -> None:
    fires, over = runner.alert("fires"), runner.alert("over")
    await runner.publish(fires, over, resolved(over))

    async with runner.notifier() as told:
        assert await told.after(fires.rule) == [{fires.alert_id: 1}]
        comes = runner.alert("comes")
        await runner.publish(comes)
        await told.after(comes.rule)
    assert {each.group["rule"] for each in told.messages} == {fires.rule, comes.rule}


async def test_a_notifier_that_is_started_again_tells_what_came_meanwhile_and_nothing_twice(
    runner: Runner,
) -> None:
    first, second = runner.alert("first"), runner.alert("second")
    await runner.publish(first)
    async with runner.notifier() as told:
        await told.after(first.rule)
    await runner.publish(second)

    async with runner.notifier() as told:
        await told.after(second.rule)
    assert [each.news for each in told.messages] == [{second.alert_id: 1}]


async def test_one_delivers_and_another_takes_over(runner: Runner) -> None:
    alert, later = runner.alert("one"), runner.alert("two")
    async with runner.notifier() as standby:
        async with runner.notifier() as leader:
            await runner.publish(alert)
            await until(lambda: bool(standby.messages or leader.messages))
        await runner.publish(later)
        await standby.after(later.rule)

    news = [each.news for each in (*leader.messages, *standby.messages)]
    assert sorted(map(str, news)) == sorted(map(str, [{alert.alert_id: 1}, {later.alert_id: 1}]))


async def test_a_notifier_says_that_it_is_ready_and_what_it_did(runner: Runner) -> None:
    (port,) = free_ports(1)
    async with runner.notifier(notifier_port=port) as told, aiohttp.ClientSession() as client:
        alert = runner.alert("any")
        await runner.publish(alert)
        await told.after(alert.rule)
        async with client.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert await answer.text() == "ok\n"
        async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert 'backchannel_agent_processed_total{agent="notifier"} 1.0' in await answer.text()


async def test_a_file_that_changes_is_taken_up_and_a_bad_one_is_not(runner: Runner) -> None:
    async with runner.notifier() as told:
        await runner.publish(runner.alert("a"))
        await told.after(f"{runner.rule}-a")
        good = runner.file.read_text()
        runner.file.write_text(good.replace("[target.team]", "[target.nobody]"))
        await runner.reported(lambda report: "no target 'team'" in report.refused)
        runner.file.write_text(good.replace("team", "night"))
        await runner.reported(lambda report: not report.refused)
        await runner.publish(runner.alert("b"))
        await told.after(f"{runner.rule}-b")
        assert {each.target for each in told.messages} == {"team", "night"}


async def test_what_was_silenced_before_it_started_is_not_told(runner: Runner) -> None:
    quiet, loud = runner.alert("quiet"), runner.alert("loud")
    now_us = SYSTEM_CLOCK.now_us()
    silence = Silence(
        silence_id=unique("s"),
        rule=quiet.rule,
        starts_at_us=now_us,
        ends_at_us=now_us + 3_600_000_000,
        created_at_us=now_us,
        created_by="ada",
    )
    await runner.send(CONTROL.name, silence.model_dump_json().encode(), control_key(silence))
    await runner.publish(quiet, loud)

    async with runner.notifier() as told:
        await told.after(loud.rule)
    assert [each.news for each in told.messages] == [{loud.alert_id: 1}]


async def test_the_notifier_says_when_the_workers_are_gone_and_when_they_are_back(
    runner: Runner,
) -> None:
    async with runner.notifier(pipeline_down_s=2) as told:
        await told.after(PIPELINE_DOWN)
        worker = AIOKafkaConsumer(EVENTS.name, bootstrap_servers=runner.bootstrap, group_id=WORKERS)
        async with worker:
            await until(lambda: told.states(PIPELINE_DOWN)[-1] == "resolved")

    assert "no worker is running" in told.messages[0].text
    *_, raised, ended = await published(runner, PIPELINE_DOWN)
    assert (raised.state, ended.state) == ("firing", "resolved")


async def test_a_kafka_that_was_never_there_is_told(runner: Runner) -> None:
    async with runner.notifier(kafka="127.0.0.1:1", pipeline_down_s=1) as told:
        await told.after(PIPELINE_DOWN)

    assert "Kafka gives no answer" in told.messages[0].text


async def test_a_message_that_was_given_up_is_a_dead_letter(runner: Runner) -> None:
    outbox = Outbox({"bootstrap_servers": runner.bootstrap})
    message = a_message()
    assert await outbox.put_aside(message, "answered 500")
    await outbox.close()

    (record,) = await records(runner, DEAD.name)
    letter = DeadLetter.read(record.value, record.headers)
    assert (letter.stage, letter.topic, letter.offset) == ("notifier", ALERTS.name, 7)
    assert Message.model_validate_json(letter.value) == message


async def test_what_cannot_be_written_is_told_as_not_durable() -> None:
    outbox = Outbox({"bootstrap_servers": "127.0.0.1:1"})

    assert not await outbox.put_aside(a_message(), "answered 500")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 -- what is awaited has no event
            await asyncio.sleep(0.02)


async def published(runner: Runner, alert_id: str) -> list[Alert]:
    """Returns what stands on ``chat.alerts`` about an alert."""
    found = [
        Alert.model_validate_json(record.value)
        for record in await records(runner, ALERTS.name)
        if record.key == alert_id.encode()
    ]
    return sorted(found, key=lambda alert: alert.transition)


async def records(runner: Runner, topic: str) -> list[Any]:
    """Returns all that stands on a topic."""
    found: list[Any] = []
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=runner.bootstrap, auto_offset_reset="earliest"
    )
    async with consumer:
        places = consumer.assignment()
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
    return found
