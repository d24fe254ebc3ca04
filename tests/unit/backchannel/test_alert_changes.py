"""What a subscriber gets to see: each change once."""

from backchannel.alerts import Changes
from support.rules import Series, rule_of


def records() -> list[bytes]:
    series = Series(rule_of(metric="count", threshold=1, window="10s", min_samples=1))
    for second, count in ((0, 2), (10, 1), (20, 2)):
        series.at(second, count)
    return [alert.model_dump_json().encode() for alert in series.alerts]


def taken(*values: bytes | None) -> list[int]:
    changes = Changes()
    found = [changes.take(b"a", value) for value in values]
    return [alert.transition for alert in found if alert]


def test_every_change_is_told_once() -> None:
    first, second, third = records()
    assert taken(first, second, second, first, third) == [1, 2, 3]


def test_of_a_compacted_topic_the_last_change_is_told() -> None:
    assert taken(records()[2]) == [3]


def test_after_an_erasure_changes_are_counted_from_the_beginning() -> None:
    changes = Changes()
    first, second, _ = records()
    taken = [changes.take(b"a", each) for each in (first, second)]
    assert taken[0] is not None
    alert_id = taken[0].alert_id.encode()
    assert changes.take(alert_id, None) is None
    assert changes.take(alert_id, first) == taken[0]


def test_what_is_no_alert_is_counted_and_passed_over() -> None:
    changes = Changes()
    assert [changes.take(b"a", value) for value in (None, b"", b"{}")] == [None, None, None]
    assert changes.skipped == 2
