"""What people say to alerts: which ones a silence covers, and which firing was taken."""

import pytest

from backchannel.events import Ack, Alert, Silence, control_key, read_control
from support.interactions import NOON_US
from support.rules import Series, rule_of

SECOND_US = 1_000_000


def an_alert() -> Alert:
    series = Series(rule_of(metric="count", threshold=0, min_samples=1, labels={"team": "bots"}))
    series.at(0)
    assert series.last is not None
    return series.last


def a_silence(**fields: object) -> Silence:
    times = {"starts_at_us": NOON_US, "ends_at_us": NOON_US + 60 * SECOND_US}
    said = {"silence_id": "s1", "created_at_us": NOON_US, "created_by": "ann"}
    return Silence.model_validate(times | said | fields)


@pytest.mark.parametrize(
    ("fields", "covers"),
    [
        ({}, True),
        ({"rule": "rule"}, True),
        ({"rule": "other"}, False),
        ({"severity": "warning"}, True),
        ({"severity": "critical"}, False),
        ({"dims": {"tenant": "a"}}, True),
        ({"dims": {"tenant": "b"}}, False),
        ({"dims": {"model": "m"}}, False),
        ({"labels": {"team": "bots"}}, True),
        ({"labels": {"team": "ops"}}, False),
        ({"rule": "rule", "dims": {"tenant": "b"}}, False),
    ],
)
def test_a_silence_covers_what_fits_all_that_it_names(
    fields: dict[str, object], covers: bool
) -> None:
    assert a_silence(**fields).covers(an_alert(), NOON_US) is covers


@pytest.mark.parametrize(("second", "covers"), [(-1, False), (0, True), (59, True), (60, False)])
def test_a_silence_begins_and_ends(second: int, covers: bool) -> None:
    assert a_silence().covers(an_alert(), NOON_US + second * SECOND_US) is covers


def test_an_acknowledgement_is_of_one_firing() -> None:
    alert = an_alert()
    taken = Ack(alert_id=alert.alert_id, transition=1, at_us=NOON_US, by="ann")
    assert taken.is_of(alert)
    assert not taken.is_of(alert.model_copy(update={"transition": 3}))


@pytest.mark.parametrize(
    "said", [a_silence(), Ack(alert_id="a", transition=3, at_us=NOON_US, by="ann")]
)
def test_what_was_said_is_read_back(said: Silence | Ack) -> None:
    assert read_control(control_key(said), said.model_dump_json().encode()) == said


def test_other_records_are_passed_over() -> None:
    assert read_control(b"epoch/chat.events", b'{"kind":"epoch"}') is None
    assert read_control(b"silence/x", b"{}") is None
    assert read_control(b"silence/x", None) is None
    assert read_control(None, b"{}") is None
