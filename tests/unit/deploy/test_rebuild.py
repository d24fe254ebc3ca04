"""From when on windows are counted anew."""

import pytest

from backchannel_deploy.rebuild import Reach, begin_of_recount

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOON_MS = 20_000 * DAY_MS + 12 * HOUR_MS
TODAY_MS = NOON_MS - 12 * HOUR_MS
AHEAD_MS = 60_000


def read_to_the_end(last_ms: int) -> Reach:
    return Reach(0, 10, 10, last_ms, last_ms - HOUR_MS)


def behind(next_ms: int) -> Reach:
    return Reach(0, 5, 10, next_ms, next_ms - HOUR_MS)


def cut_by_retention(first_ms: int) -> Reach:
    return Reach(4, 10, 10, NOON_MS, first_ms)


@pytest.mark.parametrize(
    ("reaches", "begin_ms"),
    [
        ([], TODAY_MS),
        ([Reach(0, 0, 0)], TODAY_MS),
        ([read_to_the_end(NOON_MS)], TODAY_MS),
        ([read_to_the_end(NOON_MS), read_to_the_end(NOON_MS - 9 * DAY_MS)], TODAY_MS),
        ([read_to_the_end(TODAY_MS + HOUR_MS // 2)], TODAY_MS - DAY_MS),
        ([read_to_the_end(NOON_MS), behind(NOON_MS - 2 * DAY_MS)], TODAY_MS - 2 * DAY_MS),
        ([cut_by_retention(NOON_MS - 7 * DAY_MS)], TODAY_MS),
        ([cut_by_retention(TODAY_MS + 1)], TODAY_MS + DAY_MS),
        ([cut_by_retention(TODAY_MS - AHEAD_MS)], TODAY_MS),
    ],
)
def test_it_is_a_midnight_before_what_may_be_open_and_after_what_is_lost(
    reaches: list[Reach], begin_ms: int
) -> None:
    assert begin_of_recount(reaches, NOON_MS, AHEAD_MS) == begin_ms
