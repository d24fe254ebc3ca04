"""Who is told of what and when, on a clock that is moved by hand."""

from typing import Any

import pytest

from backchannel.events import Ack, Alert, Silence
from backchannel_sinks.notifier.counters import Counters
from backchannel_sinks.notifier.dispatch import GIVE_UP_US, Dispatch
from backchannel_sinks.notifier.message import ALERTS_MAX, Message, Origin
from backchannel_sinks.notifier.plan import Plan
from backchannel_sinks.notifier.thread import Thread
from support.alerts import NOON_US, an_alert, fires_again, resolved

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US

TARGETS = {name: {"apprise": "json://localhost"} for name in ("team", "boss")}


class Desk:
    """A dispatch, its clock, and what its targets took."""

    def __init__(self, *routes: dict[str, Any], inhibit: tuple[dict[str, Any], ...] = ()) -> None:
        self.plan = Plan.model_validate(
            {"target": TARGETS, "route": routes or ({"to": ["team"]},), "inhibit": inhibit}
        )
        self.counters = Counters()
        self.dispatch = Dispatch(self.plan, self.counters, chance=lambda: 1.0)
        self.now_us = NOON_US

    def offer(self, *alerts: Alert) -> None:
        for offset, alert in enumerate(alerts):
            self.dispatch.offer(alert, Origin(partition=0, offset=offset), self.now_us)

    def due(self, target: str = "team") -> Message | None:
        return self.dispatch.next_message(target, self.now_us)

    def told(self, target: str = "team") -> list[dict[str, int]]:
        """Takes all messages that are due, and returns the news of each."""
        news = []
        while (message := self.due(target)) is not None:
            self.dispatch.delivered(message, self.now_us)
            news.append(message.news)
        return news

    def after(self, seconds: float) -> "Desk":
        self.now_us += round(seconds * SECOND_US)
        return self

    def restarted(self) -> "Desk":
        """Goes on in another process that knows what was written."""
        changes = self.dispatch.take_changes()
        dispatch = Dispatch(self.plan, self.counters, chance=lambda: 1.0)
        dispatch.load(
            Thread.model_validate_json(thread.model_dump_json())
            for thread in changes.values()
            if thread is not None
        )
        self.dispatch = dispatch
        return self


FIRST, SECOND = an_alert(tenant="acme"), an_alert(tenant="beta")
A, B = FIRST.alert_id, SECOND.alert_id


def test_the_first_alert_of_a_group_is_told_at_once() -> None:
    desk = Desk()
    desk.offer(FIRST)

    assert desk.told() == [{A: 1}]


def test_what_comes_soon_after_is_told_together() -> None:
    desk = Desk()
    desk.offer(FIRST)
    desk.told()
    desk.offer(SECOND, resolved(FIRST))

    assert desk.after(59).told() == []
    assert desk.after(1).told() == [{B: 1, A: 2}]


def test_a_group_may_wait_for_others_first() -> None:
    desk = Desk({"to": ["team"], "group_wait": "10s"})
    desk.offer(FIRST)
    desk.after(5).offer(SECOND)

    assert desk.told() == []
    assert desk.after(5).told() == [{A: 1}]
    assert desk.after(60).told() == [{B: 1}]


def test_alerts_of_different_groups_are_told_apart() -> None:
    desk = Desk({"to": ["team"], "group_by": ["rule", "tenant"]})
    desk.offer(FIRST, SECOND)

    told = desk.told()
    assert len(told) == 2
    assert {A: 1} in told
    assert {B: 1} in told


def test_the_first_route_that_fits_has_the_alert() -> None:
    desk = Desk({"severity": ["critical"], "to": ["boss"]}, {"to": ["team"]})
    desk.offer(FIRST, an_alert("error-budget", severity="critical"))

    assert desk.told("boss") == [{"error-budget/acme": 1}]
    assert desk.told("team") == [{A: 1}]


def test_a_route_that_goes_on_leaves_the_alert_to_later_ones_too() -> None:
    desk = Desk({"rules": ["latency-*"], "to": ["boss"], "go_on": True}, {"to": ["team"]})
    desk.offer(FIRST)

    assert (desk.told("boss"), desk.told("team")) == ([{A: 1}], [{A: 1}])


def test_routes_go_by_labels_and_dimensions() -> None:
    desk = Desk({"labels": {"team": "search"}, "dims": {"tenant": "acme"}, "to": ["team"]})
    desk.offer(FIRST, an_alert("x", labels={"team": "search"}), SECOND)

    assert desk.told() == [{"x/acme": 1}]
    assert desk.counters.unrouted == 2


def test_an_alert_of_somebody_who_was_erased_begins_anew() -> None:
    desk = Desk()
    desk.offer(an_alert())
    desk.dispatch.forget(an_alert().alert_id)
    assert desk.dispatch.transition(an_alert().alert_id) == 0
    assert desk.dispatch.firing(an_alert().alert_id) is None


def test_a_repeated_record_is_told_once() -> None:
    desk = Desk()
    desk.offer(FIRST, FIRST)

    assert desk.told() == [{A: 1}]
    assert desk.counters.repeated == 1


def test_every_alert_offered_is_counted_under_one_heading() -> None:
    desk = Desk({"dims": {"tenant": "acme"}, "to": ["team"]})
    desk.offer(FIRST, FIRST, SECOND, resolved(FIRST))
    counters = desk.counters

    assert counters.received == counters.repeated + counters.unrouted + counters.routed == 4


def test_an_end_is_told_to_whom_the_beginning_was_told() -> None:
    desk = Desk()
    desk.offer(FIRST)
    desk.told()
    desk.offer(resolved(FIRST))

    message = desk.after(60).due()
    assert message is not None
    assert (message.status, message.title) == ("resolved", "[RESOLVED] latency-p95 tenant=acme")


def test_an_alert_that_was_over_before_anybody_could_be_told_is_told_as_over() -> None:
    desk = Desk({"to": ["team"], "group_wait": "30s"})
    desk.offer(FIRST, resolved(FIRST))

    assert desk.after(30).told() == [{A: 2}]


@pytest.mark.parametrize(("age_s", "told"), [(3_600, [{A: 2}]), (25 * 3_600, [])])
def test_what_was_over_long_ago_is_no_news(age_s: int, told: list[dict[str, int]]) -> None:
    desk = Desk().after(age_s)
    desk.offer(resolved(FIRST))

    assert desk.told() == told


def test_a_message_keeps_its_id_and_its_words_until_it_is_taken() -> None:
    desk = Desk()
    desk.offer(FIRST)
    first = desk.due()
    assert first is not None
    desk.dispatch.failed(first, desk.now_us)
    desk.offer(resolved(FIRST))

    assert desk.after(1).due() == first


def test_a_message_composed_again_after_a_crash_has_the_same_id() -> None:
    desks = [Desk(), Desk()]
    ids = []
    for desk in desks:
        desk.offer(FIRST)
        message = desk.due()
        assert message is not None
        ids.append(message.id)

    assert ids[0] == ids[1]


def test_waiting_grows_to_five_minutes() -> None:
    desk = Desk()
    desk.offer(FIRST)
    waits = []
    for _ in range(12):
        message = desk.due()
        assert message is not None
        desk.dispatch.failed(message, desk.now_us)
        due_us = desk.dispatch.next_due_us("team")
        assert due_us is not None
        waits.append((due_us - desk.now_us) // SECOND_US)
        desk.now_us = due_us

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_a_target_may_ask_for_a_longer_wait() -> None:
    desk = Desk()
    desk.offer(FIRST)
    message = desk.due()
    assert message is not None
    desk.dispatch.failed(message, desk.now_us, retry_after_s=120)

    assert desk.dispatch.next_due_us("team") == desk.now_us + 120 * SECOND_US


def test_a_message_is_given_up_after_a_day_and_what_comes_then_is_told() -> None:
    desk = Desk()
    desk.offer(FIRST)
    message = desk.due()
    assert message is not None
    assert not desk.dispatch.failed(message, desk.now_us + GIVE_UP_US - 1)
    assert desk.dispatch.failed(message, desk.now_us + GIVE_UP_US)
    desk.after(24 * 3_600).dispatch.gave_up(message, desk.now_us)
    desk.offer(resolved(FIRST, evaluated_at_us=desk.now_us))

    assert desk.after(60).told() == [{A: 2}]
    assert (desk.counters.dead, desk.counters.composed) == (1, 2)


def test_a_restart_forgets_nothing() -> None:
    desk = Desk({"to": ["team"], "group_wait": "30s"})
    desk.offer(FIRST, SECOND)

    assert desk.restarted().after(30).told() == [{A: 1, B: 1}]


def test_a_restart_does_not_tell_again_what_was_taken() -> None:
    desk = Desk()
    desk.offer(FIRST)
    desk.told()
    desk.restarted().offer(FIRST)

    assert desk.after(60).told() == []


def test_a_message_under_way_is_the_same_after_a_restart() -> None:
    desk = Desk()
    desk.offer(FIRST)
    message = desk.due()

    assert desk.restarted().due() == message


def test_the_end_goes_into_the_thread_of_the_beginning_also_under_another_plan() -> None:
    desk = Desk({"to": ["team"], "group_by": ["tenant"]})
    desk.offer(FIRST)
    desk.told()
    desk.plan = Desk({"to": ["boss"]}).plan
    desk.restarted().offer(resolved(FIRST))

    assert desk.after(60).told() == [{A: 2}]
    assert desk.told("boss") == []


def test_two_routes_to_one_target_tell_it_once() -> None:
    desk = Desk({"to": ["team"], "go_on": True}, {"to": ["team"]})
    desk.offer(FIRST)

    assert desk.told() == [{A: 1}]


def test_threads_with_targets_that_are_gone_are_let_go_of() -> None:
    desk = Desk()
    desk.offer(FIRST)
    thread = Thread.model_copy(
        next(each for each in desk.dispatch.take_changes().values() if each is not None),
        update={"target": "gone"},
    )
    desk.dispatch.clear()
    desk.dispatch.load([thread])

    assert desk.counters.orphaned == 1
    assert desk.dispatch.take_changes() == {thread.key: None}


def test_a_thread_with_nothing_left_to_tell_is_forgotten() -> None:
    desk = Desk()
    desk.offer(FIRST)
    desk.told()
    desk.offer(resolved(FIRST))
    desk.after(60).told()
    desk.after(60).told()

    assert list(desk.dispatch.take_changes().values()) == [None]


# -- escalation --------------------------------------------------------------------------------

ESCALATES = {"to": ["team"], "escalate": [{"after": "15m", "to": ["boss"]}]}


def ack(alert: Alert) -> Ack:
    return Ack(alert_id=alert.alert_id, transition=alert.transition, at_us=NOON_US, by="ada")


def test_an_alert_that_nobody_takes_is_escalated() -> None:
    desk = Desk(ESCALATES)
    desk.offer(FIRST)

    assert desk.told("boss") == []
    message = desk.after(15 * 60).due("boss")
    assert message is not None
    assert message.title == "[FIRING] latency-p95 tenant=acme, not acknowledged"


def test_an_alert_that_somebody_takes_is_not_escalated() -> None:
    desk = Desk(ESCALATES)
    desk.offer(FIRST)
    desk.dispatch.hear(ack(FIRST), desk.now_us)

    assert desk.after(15 * 60).told("boss") == []


def test_an_alert_that_is_over_in_time_is_not_escalated() -> None:
    desk = Desk(ESCALATES)
    desk.offer(FIRST, resolved(FIRST))

    assert desk.after(15 * 60).told("boss") == []


def test_the_next_firing_is_escalated_although_the_last_one_was_taken() -> None:
    desk = Desk(ESCALATES)
    again = fires_again(resolved(FIRST))
    desk.offer(FIRST)
    desk.dispatch.hear(ack(FIRST), desk.now_us)
    desk.after(60).offer(resolved(FIRST), again)

    assert desk.after(15 * 60).told("boss") == [{A: 3}]


def test_whom_it_was_escalated_to_hears_of_the_end_also_when_the_next_firing_was_taken() -> None:
    desk = Desk(ESCALATES)
    again = fires_again(resolved(FIRST))
    desk.offer(FIRST)
    desk.after(15 * 60).told("boss")
    desk.offer(resolved(FIRST), again)
    desk.dispatch.hear(ack(again), desk.now_us)

    assert desk.after(15 * 60).told("boss") == []
    desk.offer(resolved(again))
    assert desk.after(60).told("boss") == [{A: 4}]


def test_whom_it_was_escalated_to_hears_of_the_end() -> None:
    desk = Desk(ESCALATES)
    desk.offer(FIRST)
    desk.after(15 * 60).told("boss")
    desk.offer(resolved(FIRST))

    assert desk.after(60).told("boss") == [{A: 2}]


# -- silences and inhibition -------------------------------------------------------------------


def silence(until_us: int, **fields: Any) -> Silence:
    return Silence(
        silence_id="s1",
        starts_at_us=NOON_US,
        ends_at_us=until_us,
        created_at_us=NOON_US,
        created_by="ada",
        **fields,
    )


def test_what_is_silenced_is_told_when_the_silence_ends_and_it_still_fires() -> None:
    desk = Desk()
    desk.dispatch.hear(silence(NOON_US + MINUTE_US, rule="latency-p95"), desk.now_us)
    desk.offer(FIRST)

    assert desk.told() == []
    assert desk.after(61).told() == [{A: 1}]
    assert desk.counters.silenced == 1


def test_what_was_silenced_and_is_over_is_not_told() -> None:
    desk = Desk()
    desk.dispatch.hear(silence(NOON_US + MINUTE_US), desk.now_us)
    desk.offer(FIRST)
    desk.told()
    desk.after(120).offer(resolved(FIRST))

    assert desk.told() == []


def test_a_firing_after_the_silence_is_told_although_the_one_before_was_not() -> None:
    desk = Desk({"to": ["team"], "group_wait": "30s"})
    desk.dispatch.hear(silence(NOON_US + MINUTE_US), desk.now_us)
    desk.offer(FIRST)
    desk.after(30).told()
    again = fires_again(resolved(FIRST))
    desk.after(60).offer(resolved(FIRST), again, resolved(again))

    assert desk.after(30).told() == [{A: 4}]


def test_the_end_of_what_was_told_is_told_in_a_silence_too() -> None:
    desk = Desk()
    desk.offer(FIRST)
    desk.told()
    desk.dispatch.hear(silence(NOON_US + 10 * MINUTE_US), desk.now_us)
    desk.offer(resolved(FIRST))

    assert desk.after(60).told() == [{A: 2}]


def test_a_silence_that_is_ended_holds_nothing_back() -> None:
    desk = Desk()
    desk.dispatch.hear(silence(NOON_US + MINUTE_US), desk.now_us)
    desk.dispatch.hear(silence(NOON_US), desk.now_us)
    desk.offer(FIRST)

    assert desk.told() == [{A: 1}]


INHIBITS = {
    "by": {"severity": ["critical"]},
    "quiets": {"severity": ["error"]},
    "equal": ["tenant"],
}
CAUSE = an_alert("pipeline", tenant="acme", severity="critical")


def test_an_alert_is_held_back_while_its_cause_fires() -> None:
    desk = Desk(inhibit=(INHIBITS,))
    desk.offer(CAUSE, FIRST, SECOND)

    told = desk.told()
    assert len(told) == 2
    assert {CAUSE.alert_id: 1} in told
    assert {B: 1} in told
    desk.offer(resolved(CAUSE))
    assert {A: 1} in desk.after(60).told()
    assert desk.counters.inhibited == 1


# -- limits ------------------------------------------------------------------------------------


def test_a_message_names_so_many_alerts_and_the_next_one_the_rest() -> None:
    desk = Desk()
    desk.offer(*(an_alert(tenant=f"t{number}") for number in range(ALERTS_MAX + 5)))

    assert [len(news) for news in desk.told()] == [ALERTS_MAX]
    assert [len(news) for news in desk.after(60).told()] == [5]


def test_what_does_not_fit_into_a_group_is_counted() -> None:
    desk = Desk()
    desk.offer(*(an_alert(tenant=f"t{number}") for number in range(502)))

    assert desk.counters.over_limit == 2
