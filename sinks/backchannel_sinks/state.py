"""How the sink is at one moment, as its ``/metrics`` and its own events tell it."""

from collections.abc import Iterable, Mapping

from backchannel.probes.agent import AgentState, PartitionState
from backchannel_sinks.counters import Counters
from backchannel_sinks.lane import Lane
from backchannel_sinks.records import Place

__all__ = ["sink_state"]


def sink_state(
    counters: Counters, lanes: Iterable[Lane], ends: Mapping[Place, int], now_us: int
) -> AgentState:
    """Returns the state of a sink whose logs end at ``ends``, as far as that is known."""
    known = list(lanes)
    return AgentState(
        "sink",
        counters.received,
        counters.stored,
        {"duplicate": counters.duplicate, "dead": counters.dead, "erased": counters.erased},
        further={
            "blocks": counters.blocks,
            "retries": counters.retries,
            "lost_records": counters.lost_records,
            "unknown_fields": counters.unknown_fields,
        },
        sizes={
            "records": sum(len(lane.held) for lane in known),
            "bytes": sum(lane.held_bytes for lane in known),
        },
        partitions=tuple(_partition(lane, ends, now_us) for lane in known),
    )


def _partition(lane: Lane, ends: Mapping[Place, int], now_us: int) -> PartitionState:
    oldest = lane.held[0] if lane.held else None
    stored_to = lane.next_offset if oldest is None else oldest.offset
    waits = max(ends.get(lane.place, 0), lane.next_offset) - stored_to
    lag_us = 0 if oldest is None else max(0, now_us - oldest.broker_time_ms * 1_000)
    return PartitionState(lane.place.topic, lane.place.partition, waits, lag_us)
