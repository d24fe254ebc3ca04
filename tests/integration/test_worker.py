"""A worker on a real broker: exact rows, alerts in time, and a clean end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, RulesVersion, Tombstone, encode_event
from backchannel.events.topics import CONTROL, EVENTS
from backchannel_deploy.cli.app import run
from backchannel_deploy.control import desk
from backchannel_deploy.topics import ensure_topics
from backchannel_processors.log_kafka import LogReader
from backchannel_processors.topics import MERGE_CHANGELOG
from support.broker import BrokerProcess
from support.ledger import Ledger, rows_of, send_traffic
from support.worker_process import (
    SLOW_RULES,
    Listener,
    WorkerFactory,
    WorkerProcess,
    bot,
    listener,
    until,
)

pytestmark = pytest.mark.integration


@dataclass
class Stage:
    """A broker with topics, a worker at work, and a listener."""

    bootstrap: str
    worker: WorkerProcess
    listener: Listener


@asynccontextmanager
async def stage(
    broker: BrokerProcess, workers: WorkerFactory, **settings: str
) -> AsyncIterator[Stage]:
    await ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK)
    worker = workers(broker.bootstrap, **settings)
    worker.start()
    await worker.is_at_work()
    async with listener(broker.bootstrap) as heard:
        yield Stage(broker.bootstrap, worker, heard)


async def test_every_count_sum_and_bucket_is_exact(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory
) -> None:
    ledger = Ledger()
    async with stage(private_kafka(), worker_factory) as set_up:
        async with bot(set_up.bootstrap) as sender:
            await send_traffic(sender, ledger, 120)
        await until(lambda: rows_of(set_up.listener) == ledger.rows(), set_up.listener)


async def test_windows_are_final_soon_after_the_traffic_has_stopped(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory
) -> None:
    async with stage(private_kafka(), worker_factory, lateness_s="1") as set_up:
        async with bot(set_up.bootstrap) as sender:
            await send_traffic(sender, Ledger(), 12)
        heard = set_up.listener
        await until(lambda: bool(heard.rows) and _tens_are_final(heard), heard)
        assert all(row.complete for row in heard.rows.values())


def _tens_are_final(heard: Listener) -> bool:
    return all(row.final for row in heard.rows.values() if row.window_s == 10)


async def test_its_agents_say_how_they_are_and_by_which_rules_they_decide(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory
) -> None:
    async with stage(private_kafka(), worker_factory, slot="w-1") as set_up:
        heard = set_up.listener
        await until(lambda: len(heard.reports) >= 2, heard)
        assert {each.agent for each in heard.reports} == {"windows", "merge"}
        assert {each.process for each in heard.reports} == {"w-1"}
        assert all(each.configuration for each in heard.reports)


async def test_two_replays_of_the_same_hours_have_rows_of_their_own(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory
) -> None:
    async with stage(private_kafka(), worker_factory) as set_up:
        ledger = Ledger()
        for origin in ("replay:one", "replay:two"):
            async with bot(set_up.bootstrap, origin, origin) as sender:
                await send_traffic(sender, ledger, 24, origin)
        await until(lambda: rows_of(set_up.listener) == ledger.rows(), set_up.listener)
        assert set_up.listener.alerts == []


async def test_an_alert_comes_within_a_second_and_ends_when_the_traffic_stops(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(SLOW_RULES)
    async with stage(private_kafka(), worker_factory, rules=str(rules)) as set_up:
        heard = set_up.listener
        async with bot(set_up.bootstrap) as sender:
            await sender.send(3, [Interaction(tenant_id="a", duration_us=9_000_000)] * 4)
            await sender.flush()
            await asyncio.sleep(1)
            await heard.read(0.1)
            assert heard.alerts == []
            crossing = Interaction(tenant_id="a", duration_us=9_000_000)
            await sender.send(5, [crossing] * 5)
            await until(lambda: bool(heard.alerts), heard)
        fired = heard.alerts[0]
        assert (fired.rule, fired.state, fired.dims) == ("slow", "firing", {"tenant": "a"})
        assert fired.evaluated_at_us - fired.trigger_event_at_us < 1_000_000
        await until(lambda: len(heard.alerts) == 2, heard, timeout_s=60)
        assert (heard.alerts[1].state, heard.alerts[1].value) == ("resolved", None)


async def test_rules_change_under_a_running_worker(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(SLOW_RULES)
    async with stage(private_kafka(), worker_factory, rules=str(rules)) as set_up:
        heard, worker = set_up.listener, set_up.worker
        async with bot(set_up.bootstrap) as sender:
            await sender.send(3, [Interaction(tenant_id="a", duration_us=9_000_000)] * 5)
            await until(lambda: len(heard.alerts) == 1, heard)
            rules.write_text(SLOW_RULES.replace("latency_ms", "mood"))
            await worker.has_logged("rules_rejected")
            rules.write_text(SLOW_RULES.replace('"slow"', '"slower"'))
            await worker.has_logged("rules_changed")
            await until(lambda: len(heard.alerts) == 3, heard)
        told = {(alert.rule, alert.state, alert.reason) for alert in heard.alerts[1:]}
        assert told == {("slow", "resolved", "rule_gone"), ("slower", "firing", "")}
        reader = LogReader({"bootstrap_servers": set_up.bootstrap})
        await reader.start()
        said = dict((await reader.read(CONTROL.name, [0]))[0])
        await reader.stop()
        decided_by = said[f"rules/{heard.alerts[-1].rules_hash}".encode()]
        assert RulesVersion.model_validate_json(decided_by or b"").text == rules.read_text()


async def test_rules_that_are_pushed_are_followed_by_workers_that_run_and_that_start_later(
    private_kafka: Callable[[], BrokerProcess],
    worker_factory: WorkerFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(SLOW_RULES.replace('"slow"', '"pushed"'))
    async with stage(private_kafka(), worker_factory) as set_up:
        monkeypatch.setenv("BACKCHANNEL_KAFKA", set_up.bootstrap)
        assert await asyncio.to_thread(run, ["rules", "push", str(rules), "-m", "tighter"]) == 0
        async with bot(set_up.bootstrap) as sender:
            await sender.send(3, [Interaction(tenant_id="a", duration_us=9_000_000)] * 5)
            await until(lambda: _fired(set_up.listener, "pushed"), set_up.listener)
        bad = tmp_path / "bad.toml"
        bad.write_text(SLOW_RULES.replace("latency_ms", "mood"))
        assert await asyncio.to_thread(run, ["rules", "push", str(bad)]) == 1
        assert await asyncio.to_thread(run, ["rules", "versions"]) == 0
        set_up.worker.kill()
        set_up.worker.start()
        await until(lambda: set_up.worker.log().count("rules_changed") == 2, set_up.listener)
        assert "rules_rejected" not in set_up.worker.log()
    assert "tighter" in capsys.readouterr().out


async def test_of_somebody_who_was_erased_the_workers_keep_nothing(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(SLOW_RULES)
    async with (
        stage(private_kafka(), worker_factory, rules=str(rules)) as set_up,
        desk(set_up.bootstrap) as said,
        bot(set_up.bootstrap) as sender,
    ):
        heard = set_up.listener
        turn = Interaction(conversation_id="c", tenant_id="stays", duration_us=9_000_000)
        for tenant in ("stays", "gone"):
            await sender.send(3, [turn.model_copy(update={"tenant_id": tenant})] * 5)
        await until(lambda: len(heard.alerts) == 2, heard)
        await until(lambda: heard.total("tenant", 10) == 10, heard)
        now_us = SYSTEM_CLOCK.now_us()
        asked = Tombstone(erasure_id="e", subject="tenant", keys=("gone",), requested_at_us=now_us)
        await said.say(asked)
        await until(lambda: bool(heard.erased_alerts), heard)
        while await said.unapplied():
            await heard.read(0.2)
        (gone,) = heard.erased_alerts
        ended = heard.alerts[-1]
        assert (ended.alert_id, ended.state, ended.ends_at_us) == (gone, "resolved", now_us)
        assert [each.dims for each in (await said.alerts()).values()] == [{"tenant": "stays"}]
        assert await _names(set_up.bootstrap, MERGE_CHANGELOG.name) == {"stays"}
        assert heard.total("", 10) == 10


async def _names(bootstrap: str, changelog: str) -> set[str]:
    """Returns which of the two tenants stand on a changelog, once it is compacted."""
    reader = LogReader({"bootstrap_servers": bootstrap})
    await reader.start()
    records = await reader.read(changelog, range(EVENTS.partitions))
    await reader.stop()
    kept = {key: value for each in records.values() for key, value in each}
    told = b" ".join(key or b"" for key, value in kept.items() if value is not None)
    return {name for name in ("stays", "gone") if name.encode() in told}


def _fired(heard: Listener, rule: str) -> bool:
    return any(alert.rule == rule for alert in heard.alerts)


async def test_garbage_is_counted_and_harms_nobody(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory
) -> None:
    async with stage(private_kafka(), worker_factory) as set_up, AsyncExitStack() as stack:
        sender = await stack.enter_async_context(bot(set_up.bootstrap))
        garbage = (None, b"", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"event_type":"interaction"}')
        for value in garbage:
            await sender.send_raw(0, value)
        await sender.send_raw(0, encode_event(Interaction(tenant_id="by hand")))
        await sender.send(0, [Interaction(tenant_id="by the SDK")])
        await sender.flush()
        await until(lambda: set_up.listener.total("", 60) == 2, set_up.listener)
        assert set_up.worker.stop() == 0
        assert '"received": 8, "processed": 2' in set_up.worker.log()
        assert '"rejected": 6' in set_up.worker.log()


async def test_a_worker_stops_when_it_is_asked_to_and_the_next_one_reads_nothing_twice(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory
) -> None:
    async with stage(private_kafka(), worker_factory, slot="one") as set_up:
        async with bot(set_up.bootstrap) as sender:
            await send_traffic(sender, Ledger(), 24)
        began = time.monotonic()
        await until(lambda: bool(set_up.listener.rows), set_up.listener)
        assert set_up.worker.stop() == 0
        assert time.monotonic() - began < 10
        set_up.worker.start()
        await set_up.worker.is_at_work(times=2)
        assert set_up.worker.stop() == 0
        assert '"received": 0' in set_up.worker.log()


async def test_a_worker_waits_for_its_topics_but_to_stop_not_for_a_kafka_that_is_frozen(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory
) -> None:
    broker = private_kafka()
    worker = worker_factory(broker.bootstrap)
    worker.start()
    await worker.has_logged("topics missing: chat.events")
    await ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK)
    await worker.is_at_work()
    assert worker.log().count("kafka_awaited") == 1
    broker.pause()
    assert worker.stop() == 1
    assert "Kafka did not answer" in worker.log()


async def test_wrong_rules_end_the_worker_with_a_sentence(
    worker_factory: WorkerFactory, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "x"\nmetric = "mood"\nthreshold = 1\n')
    worker = worker_factory("127.0.0.1:1", rules=str(rules))
    worker.start()
    assert await worker.has_ended() == 1
    assert "rule 'x': metric: 'mood' is unknown" in worker.log()
    assert "Traceback" not in worker.log()


async def test_wrong_settings_of_the_connection_end_the_worker_without_telling_a_secret(
    worker_factory: WorkerFactory,
) -> None:
    worker = worker_factory("127.0.0.1:1", kafka_sasl_password="hunter2")
    worker.start()
    assert await worker.has_ended() == 1
    assert "need security_protocol SASL_SSL" in worker.log()
    assert "hunter2" not in worker.log()
