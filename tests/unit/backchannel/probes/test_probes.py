"""What a role answers over HTTP, asked with a plain client."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client.core import GaugeMetricFamily, Metric

from backchannel.probes import protobuf
from backchannel.probes.agent import AgentState, Lag, PartitionState
from backchannel.probes.agent_metrics import agent_metrics
from backchannel.probes.server import ProbeServer

NOON_US = 1_700_000_000_000_000
STATE = AgentState(
    "windows",
    received=10,
    processed=6,
    skipped={"duplicate": 3},
    late=1,
    sizes={"series": 4},
    partitions=(PartitionState("chat.events", 2, 5, 1_500_000, NOON_US),),
)

Ask = Callable[[str], "aiohttp.client._RequestContextManager"]


@asynccontextmanager
async def served(
    *,
    dead: str = "",
    unready: str = "",
    metrics: Iterable[Metric] = (),
    accept: str = "text/plain",
) -> AsyncIterator[Ask]:
    server = ProbeServer(
        "127.0.0.1", 0, dead=lambda: dead, unready=lambda: unready, collect=lambda: metrics
    )
    await server.start()
    try:
        async with aiohttp.ClientSession(headers={"Accept": accept}) as client:
            yield lambda path: client.get(f"http://127.0.0.1:{server.port}{path}")
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("dead", "unready", "live", "ready"),
    [
        ("", "", (200, "ok\n"), (200, "ok\n")),
        ("", "waits for Kafka", (200, "ok\n"), (503, "waits for Kafka\n")),
        ("stuck", "", (503, "stuck\n"), (503, "stuck\n")),
    ],
)
async def test_alive_and_ready_are_two_questions(
    dead: str, unready: str, live: tuple[int, str], ready: tuple[int, str]
) -> None:
    async with served(dead=dead, unready=unready) as ask:
        for path, expected in (("/livez", live), ("/readyz", ready)):
            async with ask(path) as answer:
                assert (answer.status, await answer.text()) == expected


async def test_without_a_port_nothing_listens_and_stopping_is_harmless() -> None:
    server = ProbeServer("", None, dead=str, unready=str, collect=list)
    await server.start()
    assert server.port is None
    await server.stop()


async def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    async with served() as ask:
        async with ask("/livez") as answer:
            port = answer.url.port
        other = ProbeServer("127.0.0.1", port, dead=str, unready=str, collect=list)
        with pytest.raises(OSError, match=str(port)):
            await other.start()


async def test_metrics_tell_the_agents_and_the_process() -> None:
    async with served(metrics=agent_metrics([STATE])) as ask, ask("/metrics") as answer:
        told = (await answer.text()).splitlines()

    for line in (
        'backchannel_agent_received_total{agent="windows"} 10.0',
        'backchannel_agent_processed_total{agent="windows"} 6.0',
        'backchannel_agent_late_total{agent="windows"} 1.0',
        'backchannel_agent_skipped_total{agent="windows",reason="duplicate"} 3.0',
        'backchannel_agent_held{agent="windows",kind="series"} 4.0',
        'backchannel_agent_lag_records{agent="windows",partition="2",topic="chat.events"} 5.0',
        'backchannel_agent_lag_seconds{agent="windows",partition="2",topic="chat.events"} 1.5',
    ):
        assert line in told
    assert any(line.startswith("process_resident_memory_bytes ") for line in told)


def test_a_line_of_a_log_says_the_sum_or_the_worst_of_all_partitions() -> None:
    behind = PartitionState("chat.events", 3, 2, 4_000_000, NOON_US - 5)
    facts = replace(STATE, partitions=(*STATE.partitions, behind)).facts()

    assert facts["received"] == 10
    assert facts["skipped"] == {"duplicate": 3}
    assert (facts["lag_records"], facts["lag_s"], facts["watermark_us"]) == (7, 4.0, NOON_US - 5)


async def test_the_format_is_the_one_that_is_asked_for() -> None:
    gauge = GaugeMetricFamily("here", "A gauge", value=1)
    asked = served(metrics=[gauge], accept=protobuf.CONTENT_TYPE)
    async with asked as ask, ask("/metrics") as answer:
        assert answer.headers["Content-Type"] == protobuf.CONTENT_TYPE
        assert (await answer.read()).startswith(protobuf.encode([gauge]))


def test_what_waits_is_as_old_as_the_newest_record_that_was_taken() -> None:
    lag = Lag()
    lag.looked({0: 10})
    lag.took(0, NOON_US)

    behind = lag.of("chat.events", 0, 7, NOON_US + 2_000_000)
    assert (behind.lag_records, behind.lag_us) == (3, 2_000_000)
    read = lag.of("chat.events", 0, 10, NOON_US + 2_000_000)
    assert (read.lag_records, read.lag_us) == (0, 0)
