"""The commands as a user runs them, against the real parts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from backchannel import JsonlTransport, Producer
from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Accepted, Alert, Interaction, encode_event, open_batch
from backchannel_deploy.replay.trace import read_rows
from backchannel_deploy.topics import ensure_topics
from support.broker import BrokerProcess
from support.endpoint import ClickHouse
from support.trace import write_trace

pytestmark = pytest.mark.integration


def environment(**settings: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BACKCHANNEL") or name == "BACKCHANNEL_CACHE_DIR"
    }
    return kept | settings | {"COLUMNS": "80"}


@contextmanager
def started(env: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "backchannel_deploy", *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def finished(env: Mapping[str, str], *arguments: str, timeout_s: float = 120) -> tuple[int, str]:
    with started(env, *arguments) as process:
        output, _ = process.communicate(timeout=timeout_s)
        return process.returncode, output


def an_alert(transition: int, state: str = "firing") -> Alert:
    return Alert.model_validate(
        {
            "alert_id": "a1",
            "transition": transition,
            "rule": "latency-p95",
            "rules_hash": "h",
            "state": state,
            "severity": "warning",
            "origin": "live",
            "grouping": "tenant",
            "dims": {"tenant": "acme"},
            "metric": "latency_ms",
            "agg": "p95",
            "op": ">",
            "threshold": 5_000.0,
            "value": 6_400.0,
            "sample_count": 312,
            "window_s": 60,
            "window_end_us": 1_700_000_000_000_000,
            "starts_at_us": 1_700_000_000_000_000,
            "trigger_event_at_us": 1_700_000_000_000_000,
            "evaluated_at_us": 1_700_000_000_230_000,
        }
    )


@pytest.fixture
async def topics(kafka: BrokerProcess) -> dict[str, str]:
    """The environment of a Kafka that has all topics, with what other tests wrote to them."""
    await ensure_topics(kafka.bootstrap, clock=SYSTEM_CLOCK)
    return environment(BACKCHANNEL_KAFKA=kafka.bootstrap)


@pytest.fixture
async def alerts(topics: dict[str, str], kafka: BrokerProcess) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        yield producer


async def replayed(kafka: BrokerProcess, origin: str) -> list[Interaction]:
    """The interactions of a replay, as any reader finds them."""
    found: list[Interaction] = []
    async with AIOKafkaConsumer(
        "chat.events", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(
                    partition, []
                ):
                    batch = open_batch(record.value, record.headers)
                    for verdict in batch.verdicts() if batch.origin == origin else ():
                        assert isinstance(verdict, Accepted)
                        assert isinstance(verdict.event, Interaction)
                        found.append(verdict.event)
    return found


def origin_in(output: str) -> str:
    return "replay:" + output.split("replay:", 1)[1].split(":", 1)[0]


async def test_what_a_bot_wrote_into_a_file_is_published_later_as_it_was(
    kafka: BrokerProcess, topics: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    async with Producer(transport=JsonlTransport(file), service="support-bot") as producer:
        for number in range(300):
            async with producer.interaction(conversation_id=f"c-{number % 7}", model="m") as turn:
                turn.usage(input_tokens=number, output_tokens=1)
    rows = [row for row in read_rows(file) if isinstance(row, Interaction)]

    code, output = finished(topics, "replay", str(file), "--speed", "0", "--keep-times")

    unnumbered = {"producer_id": "", "seq": 0}  # the replay's own producer numbers them anew
    published = await replayed(kafka, origin_in(output))
    assert code == 0, output
    assert len(rows) == 300
    assert {event.event_id: event.model_copy(update=unnumbered) for event in published} == {
        row.event_id: row.model_copy(update=unnumbered) for row in rows
    }


async def test_replay_publishes_every_row_of_a_trace(
    kafka: BrokerProcess, topics: dict[str, str], tmp_path: Path
) -> None:
    trace = write_trace(tmp_path / "trace.csv", rows=3_000)
    before_us = SYSTEM_CLOCK.now_us()

    code, output = finished(topics, "replay", str(trace.path), "--speed", "0")

    events = await replayed(kafka, origin_in(output))
    assert code == 0, output
    assert "3,000 sent, 3,000 acknowledged, 0 not delivered" in output
    assert len(events) == trace.count
    assert sum(event.input_tokens for event in events) == trace.input_tokens
    assert sum(event.output_tokens for event in events) == trace.output_tokens
    newest_us = max(event.ts_us for event in events)
    assert before_us <= newest_us <= SYSTEM_CLOCK.now_us()
    assert newest_us - min(event.ts_us for event in events) == trace.last_us - trace.first_us


async def test_replay_of_events_keeps_them_as_they_were(
    kafka: BrokerProcess, topics: dict[str, str], tmp_path: Path
) -> None:
    recorded = [Interaction(tenant_id="acme", output_tokens=n) for n in range(10)]
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(map(encode_event, recorded)))

    code, output = finished(topics, "replay", str(path), "--speed", "0", "--keep-times")

    events = await replayed(kafka, origin_in(output))
    assert code == 0, output
    stamped = {"producer_id", "seq"}
    assert sorted(event.model_dump_json(exclude=stamped) for event in events) == sorted(
        event.model_dump_json(exclude=stamped) for event in recorded
    )


def test_a_bad_row_stops_a_replay_before_anything_is_published(
    topics: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,2\n2023-11-16,x,2\n"
    )

    stopped = finished(topics, "replay", str(path), "--speed", "0")
    skipped = finished(topics, "replay", str(path), "--speed", "0", "--skip-bad")

    assert stopped[0] == 1
    assert "1 bad row, so nothing was published. line 3: ContextTokens" in stopped[1]
    assert skipped[0] == 0
    assert "1 bad row left out" in skipped[1]
    assert "1 sent, 1 acknowledged" in skipped[1]


async def test_alerts_tail_prints_each_transition_once_and_ends_with_ctrl_c(
    kafka: BrokerProcess, alerts: AIOKafkaProducer
) -> None:
    with started(environment(BACKCHANNEL_KAFKA=kafka.bootstrap), "alerts", "tail") as tail:
        assert tail.stdout is not None
        assert "Listening to chat.alerts" in tail.stdout.readline()
        for value in (
            an_alert(1).model_dump_json().encode(),
            an_alert(1).model_dump_json().encode(),
            b"no alert",
            None,
            an_alert(2, "resolved").model_dump_json().encode(),
        ):
            await alerts.send_and_wait("chat.alerts", value, key=b"a1")
        lines = [await asyncio.to_thread(tail.stdout.readline) for _ in range(3)]
        tail.send_signal(signal.SIGINT)
        assert tail.wait(10) == 130

    assert "FIRING   latency-p95 tenant=acme  6.4 s > 5.0 s  +230 ms  n=312" in lines[0]
    assert "skipped" in lines[1]
    assert "resolved latency-p95" in lines[2]


async def test_alerts_tail_from_start_prints_records_as_they_are(
    kafka: BrokerProcess, alerts: AIOKafkaProducer
) -> None:
    value = an_alert(7).model_copy(update={"alert_id": "json"}).model_dump_json()
    await alerts.send_and_wait("chat.alerts", value.encode(), key=b"json")
    env = environment(BACKCHANNEL_KAFKA=kafka.bootstrap)
    with started(env, "alerts", "tail", "--from-start", "--format", "json") as tail:
        assert tail.stdout is not None
        for line in iter(tail.stdout.readline, ""):
            if line.startswith("{") and json.loads(line)["alert_id"] == "json":
                break
        assert line.strip() == value


async def test_an_alert_is_listed_taken_and_silenced(
    kafka: BrokerProcess, alerts: AIOKafkaProducer
) -> None:
    tipped = {"trigger_event_id": "e-9", "exemplars": ["e-9", "e-4"]}
    alert = an_alert(3).model_copy(update={"alert_id": "desk-1", "rule": "desk-rule"} | tipped)
    await alerts.send_and_wait("chat.alerts", alert.model_dump_json().encode(), key=b"desk-1")
    env = environment(BACKCHANNEL_KAFKA=kafka.bootstrap)

    async def asked(*arguments: str) -> str:
        code, output = await asyncio.to_thread(finished, env, "alerts", *arguments)
        assert code == 0, output
        return output

    assert "desk-rule is taken care of by ann" in await asked("ack", "desk", "--by", "ann")
    said = await asked("silence", "desk-rule", "--where.tenant", "acme", "--for", "1h")
    listed = [json.loads(line) for line in (await asked("list", "-f", "json")).splitlines()]
    shown = await asked("show", "desk-1")
    assert "trigger    e-9 at" in shown
    assert "events     e-9\n           e-4" in shown
    (found,) = [each for each in listed if each["alert_id"] == "desk-1"]
    assert "taken by ann; silenced until" in found["care"]
    await asked("silence", "--end", said[:12], "--by", "bob")
    audit = [
        json.loads(line)
        for line in (await asked("list", "--audit", "-f", "json")).split("\n")
        if line
    ]
    assert [(each["kind"], each.get("ended_by")) for each in audit[-2:]] == [
        ("ack", None),
        ("silence", "bob"),
    ]


def test_a_missing_topic_says_how_to_make_it(private_kafka: Callable[[], BrokerProcess]) -> None:
    env = environment(BACKCHANNEL_KAFKA=private_kafka().bootstrap)

    code, output = finished(env, "alerts", "tail")

    assert code == 1
    assert output == "backchannel: Kafka has no topic chat.alerts. Create it: backchannel migrate\n"


def test_a_kafka_that_is_not_there_is_one_sentence() -> None:
    code, output = finished(environment(BACKCHANNEL_KAFKA="127.0.0.1:1"), "alerts", "tail")

    assert code == 1
    assert output.startswith("backchannel: Kafka at 127.0.0.1:1 gives no answer.")
    assert output.count("\n") == 1


def clickhouse_environment(clickhouse: ClickHouse) -> dict[str, str]:
    return environment(
        BACKCHANNEL_CLICKHOUSE=clickhouse.url, BACKCHANNEL_DATABASE=clickhouse.database
    )


@pytest.mark.parametrize(
    ("format_name", "expected"),
    [
        ("csv", '"n","t"\n1,"x"\n'),
        ("json", '[\n{"n":1,"t":"x"}\n]\n'),
        ("jsonl", '{"n":1,"t":"x"}\n'),
    ],
)
def test_sql_answers_in_the_format_asked_for(
    clickhouse: ClickHouse, format_name: str, expected: str
) -> None:
    env = clickhouse_environment(clickhouse)

    assert finished(env, "sql", "SELECT 1 AS n, 'x' AS t", "--format", format_name) == (0, expected)


def test_sql_prints_a_table(clickhouse: ClickHouse) -> None:
    code, output = finished(clickhouse_environment(clickhouse), "sql", "SELECT 42 AS n, NULL AS x")

    assert code == 0
    assert [line.split() for line in output.splitlines()][::2] == [["n", "x"], ["42", "NULL"]]


def test_sql_leaves_a_format_in_the_statement_alone(clickhouse: ClickHouse) -> None:
    env = clickhouse_environment(clickhouse)

    assert finished(env, "sql", "SELECT 1, 2 FORMAT TSV") == (0, "1\t2\n")


def test_sql_makes_and_fills_tables_too(clickhouse: ClickHouse) -> None:
    env = clickhouse_environment(clickhouse)

    made = finished(env, "sql", "CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n")
    filled = finished(env, "sql", "INSERT INTO t VALUES (7)")

    assert (made, filled) == ((0, ""), (0, ""))
    assert finished(env, "sql", "SELECT n FROM t", "--format", "csv") == (0, '"n"\n7\n')


def test_an_error_in_sql_is_one_paragraph(clickhouse: ClickHouse) -> None:
    code, output = finished(clickhouse_environment(clickhouse), "sql", "SELECT * FROM nothing")

    assert code == 1
    assert output.startswith("backchannel: ClickHouse: ")
    assert "nothing" in output
    assert output.count("\n") == 1


def test_a_reader_that_goes_away_is_no_trouble(clickhouse: ClickHouse) -> None:
    env = clickhouse_environment(clickhouse)
    statement = "SELECT number FROM numbers(3000000)"
    with started(env, "sql", statement, "--format", "csv") as sql:
        assert sql.stdout is not None
        assert sql.stdout.readline() == '"number"\n'
        sql.stdout.close()
        sql.wait(30)
        assert sql.returncode != 0


def test_migrate_says_what_it_made_and_then_that_nothing_is_left(
    kafka: BrokerProcess, clickhouse: ClickHouse
) -> None:
    env = clickhouse_environment(clickhouse) | {"BACKCHANNEL_KAFKA": kafka.bootstrap}

    first, second = finished(env, "migrate"), finished(env, "migrate")

    assert first[0] == 0, first[1]
    assert "Applied the migration 0001 events." in first[1]
    assert second == (0, "Nothing to do: every topic and table is there.\n")


@pytest.mark.timeout(400)
def test_the_demo_shows_alerts_and_that_nothing_is_missing(tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path / "demo"), "--seconds", "40", "--bots", "150")

    code, output = finished(environment(), "demo", *arguments, timeout_s=350)

    assert code == 0, output
    assert "FIRING   error-rate tenant=globex" in output
    assert "nothing is missing" in output
    assert output.count("FROM v_") == 3
