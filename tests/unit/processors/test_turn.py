"""How tasks share the event loop: who is patient, and what a turn costs."""

import asyncio

import pytest

from backchannel.clock import ManualClock
from backchannel_processors.turn import Turn


async def busy(clock: ManualClock, times: int) -> None:
    """Works for a millisecond so many times, and lets others go on after each."""
    for _ in range(times):
        clock.advance(us=1_000)
        await asyncio.sleep(0)


async def spent(clock: ManualClock, work: int, *, patient: bool, turn_us: int = 2_000) -> int:
    """Returns how long a turn gave way, in milliseconds, beside so much work of another task."""
    turn = Turn(clock, patient=patient)
    other = asyncio.create_task(busy(clock, work))
    clock.advance(us=turn_us)
    before_us = clock.monotonic_us()
    await turn.share()
    gave_us = clock.monotonic_us() - before_us
    assert turn.spent_us == turn_us, "what others do costs it nothing"
    other.cancel()
    return gave_us // 1_000


@pytest.mark.parametrize(("patient", "gave_ms"), [(False, 1), (True, 3)])
async def test_a_patient_task_goes_on_when_others_have_nothing_to_do(
    *, patient: bool, gave_ms: int
) -> None:
    assert await spent(ManualClock(), 3, patient=patient) == gave_ms


async def test_patience_has_an_end() -> None:
    assert await spent(ManualClock(), 100, patient=True) == 5


async def test_a_short_turn_goes_on() -> None:
    assert await spent(ManualClock(), 3, patient=True, turn_us=500) == 0


@pytest.mark.parametrize(("turn_us", "gave"), [(4_000, False), (6_000, True)])
async def test_what_an_alert_waits_for_has_longer_turns(turn_us: int, *, gave: bool) -> None:
    clock = ManualClock()
    turn = Turn(clock, urgent=True)
    other = asyncio.create_task(busy(clock, 1))
    clock.advance(us=turn_us)
    await turn.share()
    assert (clock.monotonic_us() > turn_us) == gave
    await other


async def test_what_is_waited_for_costs_the_loop_nothing() -> None:
    clock = ManualClock()
    turn = Turn(clock)
    clock.advance(us=100)
    await turn.until(busy(clock, 5))
    assert turn.spent_us == 100
