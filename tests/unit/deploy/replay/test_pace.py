"""When each event of a replay is published, and what time it then bears."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backchannel_deploy.replay.pace import plan_pace

START_US = 1_800_000_000_000_000
FIRST_US, LAST_US = 1_700_000_000_000_000, 1_700_003_600_000_000


@pytest.mark.parametrize("speed", [0, 1, 10, 1_000])
def test_the_last_event_bears_the_time_at_which_it_is_published(speed: float) -> None:
    pace = plan_pace(
        first_ts_us=FIRST_US, last_ts_us=LAST_US, speed=speed, start_us=START_US, keep_times=False
    )

    assert pace.shifted(LAST_US) == START_US + pace.due_us(LAST_US)


@given(
    speed=st.one_of(st.just(0.0), st.floats(0.01, 1e6)),
    ts_us=st.integers(FIRST_US, LAST_US),
)
def test_no_event_lies_in_the_future_when_it_is_published(speed: float, ts_us: int) -> None:
    pace = plan_pace(
        first_ts_us=FIRST_US, last_ts_us=LAST_US, speed=speed, start_us=START_US, keep_times=False
    )

    rounding_us = 1
    assert pace.shifted(ts_us) <= START_US + pace.due_us(ts_us) + rounding_us


def test_kept_times_are_not_touched() -> None:
    pace = plan_pace(
        first_ts_us=FIRST_US, last_ts_us=LAST_US, speed=2, start_us=START_US, keep_times=True
    )

    assert pace.shifted(FIRST_US) == FIRST_US
    assert pace.due_us(LAST_US) == 1_800_000_000


def test_as_fast_as_possible_waits_for_nothing() -> None:
    pace = plan_pace(
        first_ts_us=FIRST_US, last_ts_us=LAST_US, speed=0, start_us=START_US, keep_times=False
    )

    assert pace.due_us(LAST_US) == 0
