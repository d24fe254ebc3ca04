"""The sender's loop steps aside when it has worked for a while, and only then."""

import asyncio
from collections.abc import Iterator

import pytest

from backchannel.sending.selector import GivingWay


class Stage:
    """A clock that is moved by hand, and the moments at which somebody stepped aside."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.aside: list[float] = []

    def step_aside(self, seconds: float) -> None:
        assert 0 < seconds < 0.001
        self.aside.append(self.now_s)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def selector(stage: Stage) -> Iterator[GivingWay]:
    with GivingWay(lambda: stage.now_s, stage.step_aside) as selector:
        yield selector


def test_a_short_stretch_of_work_goes_on_without_a_pause(stage: Stage, selector: GivingWay) -> None:
    for _ in range(3):
        stage.now_s += 0.000_05
        selector.select(0)

    assert stage.aside == []


def test_short_steps_add_up_to_a_stretch_and_then_it_begins_anew(
    stage: Stage, selector: GivingWay
) -> None:
    for _ in range(10):
        stage.now_s += 0.000_1
        selector.select(0)

    assert stage.aside == pytest.approx([0.000_2, 0.000_4, 0.000_6, 0.000_8, 0.001])


def test_who_waits_anyway_does_not_step_aside_as_well(stage: Stage, selector: GivingWay) -> None:
    stage.now_s += 1
    selector.select(0.001)
    stage.now_s += 0.000_1
    selector.select(0)

    assert stage.aside == []


def test_a_loop_over_it_runs_timers_and_what_is_ready(stage: Stage) -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return await asyncio.to_thread(lambda: "done")

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(GivingWay())) as runner:
        assert runner.run(work()) == "done"
