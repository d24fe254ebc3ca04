"""Bytewax: a fold over tumbling windows by event time."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax import operators as op  # type: ignore[import-not-found]  # only the peers' environment has it
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage  # type: ignore[import-not-found]  # only the peers' environment has it
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]  # only the peers' environment has it
from bytewax.operators import windowing as windows  # type: ignore[import-not-found]  # only the peers' environment has it
from bytewax.testing import TestingSink, run_main  # type: ignore[import-not-found]  # only the peers' environment has it

from benchmarks.subjects.events import TOPIC, WHERE, Rate

rate = Rate()


def event_of(message: KafkaSourceMessage[Any, Any]) -> tuple[str, dict[str, Any]]:
    rate.begin()  # what is read is added up only when its window may be over
    event = json.loads(message.value)
    return event["tenant_id"], event


def add(sums: tuple[int, int], event: dict[str, Any]) -> tuple[int, int]:
    rate.saw_one()
    return sums[0] + event["duration_us"], sums[1] + 1


def merge(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def time_of(event: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(event["ts_us"] / 1e6, UTC)


def main() -> None:
    flow = Dataflow("bench")
    source = KafkaSource([WHERE], [TOPIC], tail=False)
    events = op.map("decode", op.input("read", flow, source), event_of)
    clock = windows.EventClock(time_of, wait_for_system_duration=timedelta(seconds=60))
    tumbling = windows.TumblingWindower(
        length=timedelta(seconds=10), align_to=datetime(2026, 1, 1, tzinfo=UTC)
    )
    sums = windows.fold_window("mean", events, clock, tumbling, lambda: (0, 0), add, merge)
    op.output("keep", sums.down, TestingSink([]))
    run_main(flow)


if __name__ == "__main__":
    main()
