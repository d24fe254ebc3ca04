"""One look at everything, or a look, a repair and another look."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from clickhouse_connect.driver.client import Client

from backchannel.clock import Clock
from backchannel_deploy.connect import find_database
from backchannel_deploy.verify import stored
from backchannel_deploy.verify.log import Log, opened_log
from backchannel_deploy.verify.offsets import check_offsets
from backchannel_deploy.verify.repair import remove_repeats, send_corrections, store_lost
from backchannel_deploy.verify.verdict import Checked
from backchannel_deploy.verify.windows import Span, check_windows
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.store import ClickHouseStore

__all__ = ["Order", "verify"]

_UNDER_WAY_MS = 30_000
"""A record that came this recently may be on its way into ClickHouse."""
_STORED_TIMEOUT_S = 30.0
_ASK_S = 0.5


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be looked at."""

    kafka: str
    """Bootstrap servers."""
    clickhouse: str
    """ClickHouse's HTTP URL; it may hold a user and a password."""
    span: Span | None
    """``None``: offsets alone."""
    since_s: int
    """From when on losses, dead letters and doubled rows count."""
    repair: bool = False


async def verify(
    client: Client, order: Order, clock: Clock, progress: Callable[[int], None] = lambda _: None
) -> Checked:
    """Looks; with ``repair`` also corrects what can be, waits until it is stored, and looks again.

    Raises:
        UserError: Kafka gives no answer.
    """
    async with opened_log(order.kafka) as log:
        checked = await _look(client, log, order, clock, progress)
        if not order.repair:
            return checked
        removed = 0
        if checked.doubled:
            removed = await asyncio.to_thread(remove_repeats, client, order.since_s)
        stored_again = await _store_lost(log, checked, order, clock)
        if (stored_again or removed) and order.span is not None:
            # Windows are only held to events that are all there, each once.
            checked = await _look(client, log, order, clock, progress)
        corrected = await _correct(client, log, checked, clock)
        if not stored_again and not corrected and not removed:
            return checked
        again = await _look(client, log, order, clock, progress)
        return replace(again, corrected=corrected, stored_again=stored_again, removed=removed)


async def _look(
    client: Client, log: Log, order: Order, clock: Clock, progress: Callable[[int], None]
) -> Checked:
    not_stored = await log.not_stored_since(clock.now_us() // 1_000 - _UNDER_WAY_MS)
    offsets = await check_offsets(client, log, await log.tombstones())
    doubled = sum(stored.repeats_by_month(client, order.since_s).values())
    if order.span is None:
        return Checked(not_stored, offsets, doubled)
    windows = None
    if not not_stored:
        windows = await asyncio.to_thread(check_windows, client, order.span, progress)
    lost, unclean_ends = stored.lost(client, order.since_s)
    dead = stored.dead_letters(client, order.since_s)
    return Checked(not_stored, offsets, doubled, windows, lost, unclean_ends, dead)


async def _store_lost(log: Log, checked: Checked, order: Order, clock: Clock) -> int:
    if not checked.offsets.lost:
        return 0
    store = ClickHouseStore(lambda: connect(order.clickhouse, find_database()), clock)
    try:
        return await store_lost(log, store, checked.offsets.lost, await log.tombstones(), clock)
    finally:
        store.close()


async def _correct(client: Client, log: Log, checked: Checked, clock: Clock) -> int:
    mismatches = checked.windows.mismatches if checked.windows else []
    sent = await send_corrections(log, mismatches)
    deadline_us = clock.monotonic_us() + round(_STORED_TIMEOUT_S * 1e6)
    while sent and await log.not_stored_since(clock.now_us() // 1_000):
        if clock.monotonic_us() > deadline_us:
            break  # the look that follows says that the sink is behind
        await asyncio.sleep(_ASK_S)
    return sent
