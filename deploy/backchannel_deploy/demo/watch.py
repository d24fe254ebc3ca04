"""Feeds the board from the outside, as any subscriber and analyst would: Kafka's topics and SQL."""

import asyncio
from collections.abc import Callable

from pydantic import ValidationError

from backchannel import Producer
from backchannel.clock import Clock
from backchannel.events import Alert, Window
from backchannel.events.topics import ALERTS, METRICS
from backchannel_deploy.demo.answers import Answers
from backchannel_deploy.demo.board import Board, Counts, Heard
from backchannel_deploy.demo.fleet import Fleet
from backchannel_deploy.listen import Listener

__all__ = ["WATCHED", "count_events", "read_topics"]

WATCHED = (METRICS.name, ALERTS.name)

_TICK_S = 1.0


async def read_topics(
    listener: Listener,
    board: Board,
    fleet: Fleet,
    on_alert: Callable[[Heard], object],
    clock: Clock,
) -> None:
    """Takes windows and alerts as they are published, until it is cancelled."""
    async for record in listener:
        if not record.value:
            continue
        try:
            if record.topic == METRICS.name:
                for line in record.value.splitlines():
                    board.take_window(Window.model_validate_json(line))
                continue
            alert = Alert.model_validate_json(record.value)
        except ValidationError:
            continue  # somebody else's record: the sink puts it among the dead letters
        heard = Heard(alert, clock.now_us() - _caused_at_us(alert, fleet))
        if board.take_alert(heard):
            on_alert(heard)


def _caused_at_us(alert: Alert, fleet: Fleet) -> int:
    """When the bot reported the event that decided: its event time is when the turn began."""
    tenant = alert.dims.get("tenant", "")
    reported_at_us = fleet.reported_at_us(tenant, alert.trigger_event_at_us)
    return reported_at_us or alert.trigger_event_at_us


async def count_events(
    producer: Producer, answers: Answers, board: Board, on_tick: Callable[[], object]
) -> None:
    """Counts once a second what was sent, acknowledged and stored, until it is cancelled."""
    from clickhouse_connect.driver.exceptions import ClickHouseError

    sent_before = 0
    while True:
        # The last station first, so that none seems to have more than the one before it.
        try:
            stored = await asyncio.to_thread(answers.stored, producer.stats().producer_id)
        except ClickHouseError:
            stored = board.counts.stored  # it is away: the supervisor starts it again
        counted = board.counted
        stats = producer.stats()
        board.counts = Counts(stats.accepted, stats.acked, counted, stored)
        board.rates.append(stats.accepted - sent_before)
        sent_before = stats.accepted
        on_tick()
        await asyncio.sleep(_TICK_S)
