"""`backchannel rebuild` on a real broker: states that nobody can read, counted anew."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction
from backchannel_deploy import worker_group
from backchannel_deploy.cli.app import run
from backchannel_deploy.topics import ensure_topics
from backchannel_processors.topics import WINDOWS_CHANGELOG
from support.broker import BrokerProcess
from support.ledger import Ledger, rows_of, send_traffic
from support.worker_process import (
    SLOW_RULES,
    WorkerFactory,
    bot,
    listener,
    until,
)

pytestmark = pytest.mark.integration


async def test_states_of_another_version_are_counted_anew_and_come_out_the_same(
    private_kafka: Callable[[], BrokerProcess],
    worker_factory: WorkerFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka, rules, ledger = private_kafka().bootstrap, tmp_path / "rules.toml", Ledger()
    rules.write_text(SLOW_RULES)
    monkeypatch.setenv("BACKCHANNEL_KAFKA", kafka)
    await ensure_topics(kafka, clock=SYSTEM_CLOCK)
    worker = worker_factory(kafka, rules=str(rules))
    worker.start()
    await worker.is_at_work()
    async with listener(kafka) as heard, bot(kafka) as live, bot(kafka, "b-2", "replay:a") as again:
        await send_traffic(live, ledger, 24)
        await send_traffic(again, ledger, 24, "replay:a", seed=8)
        slow = [Interaction(tenant_id="slow", duration_us=9_000_000)] * 5
        ledger.note(slow)
        await live.send(3, slow)
        await until(lambda: rows_of(heard) == ledger.rows() and len(heard.alerts) == 1, heard)

        monkeypatch.setattr(worker_group, "_PATIENCE_S", 1)
        assert await asyncio.to_thread(run, ["rebuild"]) == 1
        assert "1 worker of the group backchannel-processors runs" in capsys.readouterr().err
        worker.kill()
        monkeypatch.setattr(worker_group, "_PATIENCE_S", 20)
        await old_state(kafka)
        worker.start()
        assert await worker.has_ended() == 1
        assert "`backchannel rebuild`" in worker.log()

        told = []
        for _ in range(2):  # as one does who was interrupted
            assert await asyncio.to_thread(run, ["rebuild"]) == 0
            told.append(capsys.readouterr().out)
        assert told[0].startswith("The states are gone.")
        assert told[0] == told[1]
        before = len(heard.alerts)
        worker.start()
        await send_traffic(live, ledger, 24, seed=9)
        await until(lambda: rows_of(heard) == ledger.rows(), heard)
        assert all(alert.state == "resolved" for alert in heard.alerts[before:])


async def old_state(kafka: str) -> None:
    """Leaves a state as a version before this one wrote it."""
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        value = b'{"v":1,"next_offset":1,"watermarks":{},"ended":[],"producers":[]}'
        await producer.send_and_wait(WINDOWS_CHANGELOG.name, value, b'["meta"]', 0)
