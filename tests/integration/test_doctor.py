"""`backchannel doctor` on the real parts: what is well, what is not, and how long it looks."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from backchannel import Producer
from backchannel.clock import SYSTEM_CLOCK, Clock, ManualClock
from backchannel.events import Interaction
from backchannel.events.topics import CONTROL, Topic
from backchannel_deploy.doctor import Examination, examine, kafka_checks
from backchannel_deploy.doctor.clickhouse_checks import check_clickhouse
from backchannel_deploy.doctor.finding import Finding
from backchannel_deploy.doctor.kafka_checks import check_kafka
from backchannel_deploy.prepare import prepare
from backchannel_deploy.topics import ensure_topics
from support.broker import BrokerProcess, free_ports, unique
from support.endpoint import ClickHouse

pytestmark = pytest.mark.integration


@pytest.fixture
async def admin(kafka: BrokerProcess) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
async def topic(kafka: BrokerProcess) -> Topic:
    """A topic that no other test uses."""
    topic = Topic(unique("topic"), 2, "", 3_600_000, 2_000_000)
    await ensure_topics(kafka.bootstrap, clock=SYSTEM_CLOCK, topics=(CONTROL, topic))
    return topic


def found(findings: list[Finding], subject: str, verdict: str) -> list[str]:
    return [each.told for each in findings if (each.subject, each.verdict) == (subject, verdict)]


async def examined(kafka: str, clickhouse: ClickHouse, clock: Clock = SYSTEM_CLOCK) -> Examination:
    environ = {"BACKCHANNEL_DATABASE": clickhouse.database}
    return await examine(
        kafka=kafka, clickhouse=clickhouse.url, environ=environ, env_file={}, clock=clock
    )


async def test_a_stack_that_is_well_is_told_so(
    kafka: BrokerProcess, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKCHANNEL_DATABASE", clickhouse.database)
    await prepare(kafka.bootstrap, clickhouse.url)
    async with Producer(kafka.bootstrap) as producer:
        producer.track(Interaction())

    found = await examined(kafka.bootstrap, clickhouse)

    assert found.healthy, found.findings
    assert {each.subject for each in found.findings if each.verdict == "ok"} >= {
        *("install", "settings", "kafka", "topics", "clickhouse", "migrations", "clock")
    }


async def test_a_port_that_takes_connections_and_answers_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_checks, "_STEP_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        findings = await check_kafka(f"127.0.0.1:{silent.getsockname()[1]}", clock=SYSTEM_CLOCK)

    (told,) = found(findings, "kafka", "wrong")
    assert "answers nothing" in told
    assert "TLS" in findings[-1].advice


async def test_missing_topics_and_tables_are_told_with_the_command_that_makes_them(
    kafka: BrokerProcess, clickhouse: ClickHouse
) -> None:
    missing = Topic(unique("missing"), 2, "", 3_600_000, 2_000_000)
    findings = await check_kafka(kafka.bootstrap, clock=SYSTEM_CLOCK, topics=(missing,))
    for database in (clickhouse.database, "not_even_there"):
        findings += await asyncio.to_thread(
            check_clickhouse, clickhouse.url, database, clock=SYSTEM_CLOCK
        )

    assert found(findings, "topics", "wrong") == [f"Missing: {missing.name}."]
    assert len(found(findings, "migrations", "wrong")) == 2
    advice = {each.advice for each in findings if each.verdict == "wrong"}
    assert all("backchannel migrate" in each for each in advice)


async def test_a_topic_with_another_number_of_partitions_is_wrong(
    kafka: BrokerProcess, admin: AIOKafkaAdminClient, topic: Topic
) -> None:
    await admin.create_partitions({topic.name: NewPartitions(3)})
    async with asyncio.timeout(30):
        told: list[str] = []
        while not told:
            findings = await check_kafka(kafka.bootstrap, clock=SYSTEM_CLOCK, topics=(topic,))
            told = found(findings, "topics", "wrong")

    assert told == [f"{topic.name} has 3 partitions, not 2."]


async def test_a_topic_with_another_setting_is_a_warning(
    kafka: BrokerProcess, admin: AIOKafkaAdminClient, topic: Topic
) -> None:
    kept = {**topic.configs(), "retention.ms": "1000"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, kept)])

    findings = await check_kafka(kafka.bootstrap, clock=SYSTEM_CLOCK, topics=(topic,))

    assert found(findings, "topics", "warning") == [
        f"{topic.name}: retention.ms is 1000, should be 3600000."
    ]


async def test_a_database_of_a_newer_version_is_wrong(
    kafka: BrokerProcess, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKCHANNEL_DATABASE", clickhouse.database)
    await prepare(kafka.bootstrap, clickhouse.url)
    with clickhouse.client() as client:
        client.command(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999,'','')"
        )

    findings = await asyncio.to_thread(
        check_clickhouse, clickhouse.url, clickhouse.database, clock=SYSTEM_CLOCK
    )

    (told,) = found(findings, "migrations", "wrong")
    assert "is at migration 9999, and this version knows only" in told


async def test_clocks_that_are_apart_are_told(kafka: BrokerProcess, clickhouse: ClickHouse) -> None:
    await ensure_topics(kafka.bootstrap, clock=SYSTEM_CLOCK)
    fast = ManualClock(SYSTEM_CLOCK.now_us() + 90_000_000)
    async with Producer(kafka.bootstrap) as producer:
        producer.track(Interaction(ts_us=fast.now_us()))
    slow = ManualClock(SYSTEM_CLOCK.now_us() - 60_000_000)

    findings = await check_kafka(kafka.bootstrap, clock=slow)
    findings += await asyncio.to_thread(
        check_clickhouse, clickhouse.url, clickhouse.database, clock=slow
    )

    told = " ".join(found(findings, "clock", "warning"))
    assert f"producer {producer.stats().producer_id} is " in told
    assert "The broker's clock is at least " in told
    assert "The clock of ClickHouse is 6" in told


async def test_addresses_that_nobody_listens_on_are_told_one_by_one(kafka: BrokerProcess) -> None:
    (port,) = free_ports(1)
    kafkas = f"127.0.0.1:{port},{kafka.bootstrap}"

    findings = await check_kafka(kafkas, clock=SYSTEM_CLOCK, topics=())

    assert found(findings, "kafka", "warning") == [
        f"Nobody can be reached at 127.0.0.1:{port}: connection refused."
    ]
    assert len(found(findings, "kafka", "ok")) == 1


async def test_what_does_not_answer_is_told_in_bounded_time() -> None:
    began = time.perf_counter()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and says nothing
        port = silent.getsockname()[1]
        nowhere = ClickHouse(f"http://ana:s3cret-canary@127.0.0.1:{port}", "backchannel")
        examination = await examined(f"127.0.0.1:{port}", nowhere)

    assert time.perf_counter() - began < 45
    wrong = {each.subject for each in examination.findings if each.verdict == "wrong"}
    assert (examination.healthy, wrong) == (False, {"kafka", "clickhouse"})
    assert "s3cret-canary" not in repr(examination)
