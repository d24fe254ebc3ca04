"""When the pipeline is down, by what Kafka says of the workers."""

import pytest

from backchannel.events import Alert
from backchannel_sinks.notifier.pipeline_watch import (
    Judgement,
    PipelineWatch,
    Vitals,
    pipeline_alert,
)
from support.alerts import NOON_US

SECOND_US = 1_000_000
PATIENCE_S = 60
AT_WORK = Vitals(members=2, done=100, waiting=0)


class Watch:
    """A watch that is asked every so many seconds."""

    def __init__(self) -> None:
        self.watch = PipelineWatch(PATIENCE_S * SECOND_US, NOON_US, 0)

    def at(self, second: int, vitals: Vitals | None) -> Judgement:
        return self.watch.observe(vitals, NOON_US + second * SECOND_US, second * SECOND_US)


@pytest.mark.parametrize(
    ("vitals", "why"),
    [
        (None, "Kafka gives no answer"),
        (Vitals(0, 100, 0), "no worker is running"),
        (Vitals(2, 100, 5_000), "the workers do not get on, and 5,000 records wait"),
    ],
)
def test_a_minute_without_a_sign_of_life_is_down(vitals: Vitals | None, why: str) -> None:
    watch = Watch()
    watch.at(0, AT_WORK)

    assert watch.at(59, vitals).state == "unsure"
    down = watch.at(60, vitals)
    assert (down.state, down.why, down.since_us) == ("down", why, NOON_US)


def test_workers_that_get_on_are_alive_however_much_waits() -> None:
    watch = Watch()
    states = [watch.at(second, Vitals(1, second, 9_000)).state for second in range(10, 200, 10)]

    assert set(states[1:]) == {"works"}


def test_workers_with_nothing_to_do_are_alive() -> None:
    watch = Watch()

    assert [watch.at(second, AT_WORK).state for second in (0, 100, 200)] == ["works"] * 3


def test_a_notifier_that_has_just_begun_is_not_sure() -> None:
    assert Watch().at(1, Vitals(2, 100, 5)).state == "unsure"


def test_a_clock_that_is_set_raises_nothing() -> None:
    watch = Watch()
    watch.at(0, AT_WORK)

    judged = watch.watch.observe(None, NOON_US + 9_000 * SECOND_US, 5 * SECOND_US)
    assert judged.state == "unsure"


def raised(now_us: int = NOON_US + 60 * SECOND_US) -> Alert:
    alert = pipeline_alert(Judgement("down", "no worker is running", NOON_US), None, now_us)
    assert alert is not None
    return alert


def test_it_fires_once_and_ends_once() -> None:
    firing = raised()
    works = Judgement("works")
    end = pipeline_alert(works, firing, NOON_US + 90 * SECOND_US)

    assert (firing.rule, firing.state, firing.severity) == ("pipeline_down", "firing", "critical")
    assert pipeline_alert(Judgement("down", "", NOON_US), firing, NOON_US) is None
    assert end is not None
    assert (end.alert_id, end.state, end.ends_at_us) == (
        firing.alert_id,
        "resolved",
        NOON_US + 90 * SECOND_US,
    )
    assert pipeline_alert(works, None, NOON_US) is None


def test_its_transitions_rise_also_when_the_clock_goes_back() -> None:
    firing = raised()
    end = pipeline_alert(Judgement("works"), firing, NOON_US - 3_600 * SECOND_US)

    assert end is not None
    assert end.transition > firing.transition


def test_what_a_new_notifier_does_not_know_it_does_not_end() -> None:
    assert pipeline_alert(Judgement("unsure", "?", NOON_US), raised(), NOON_US) is None
