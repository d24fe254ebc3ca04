"""The short form of ``make soak``: some seconds of trouble by a fixed plan."""

from pathlib import Path

import pytest

from soak.run import Plan, soak

pytestmark = pytest.mark.consistency


def test_nothing_grows_and_nothing_is_lost_while_the_broker_comes_and_goes(tmp_path: Path) -> None:
    plan = Plan(
        seconds=7, seed=4, events_per_s=1_000, trouble_s=(0.5, 1.0), calm_s=(0.2, 0.5), kill=False
    )

    report = soak(plan, tmp_path)

    assert report.faults == ()
    assert report.stats.acked > 1_000
    assert report.stats.dropped == {}
    assert report.slowest_track_ms < 1_000  # only to find what waits for the network
