"""What a bot knows of alerts and budgets without asking anybody."""

from backchannel import Producer
from backchannel.alert_cache import AlertCache
from backchannel.clock import ManualClock
from backchannel.events import Alert, BudgetState, control_key
from backchannel.events.topics import ALERTS, CONTROL
from backchannel.sending.memory import MemoryTransport
from support.interactions import NOON_US
from support.rules import Series, rule_of

HOUR_US = 3_600_000_000


def a_budget(spent: float, **fields: object) -> BudgetState:
    given: dict[str, object] = {
        "alert_id": "b",
        "rule": "spent",
        "dims": {"tenant": "a"},
        "metric": "tokens",
        "spent": spent,
        "limit": 100.0,
        "period_end_us": NOON_US + HOUR_US,
        "evaluated_at_us": NOON_US,
    }
    return BudgetState.model_validate(given | fields)


def hear(cache: AlertCache, *said: Alert | BudgetState) -> None:
    for each in said:
        value = each.model_dump_json().encode()
        if isinstance(each, Alert):
            cache.take(ALERTS.name, each.alert_id.encode(), value)
        else:
            cache.take(CONTROL.name, control_key(each), value)


def changes() -> list[Alert]:
    series = Series(rule_of(metric="count", threshold=1, window="10s", min_samples=1))
    series.at(0, 2)
    series.at(10, 1)
    return series.alerts


def test_an_alert_is_known_while_it_fires() -> None:
    cache = AlertCache(ManualClock(NOON_US))
    firing, resolved = changes()
    hear(cache, firing)
    assert cache.firing("rule", tenant="a") == (firing,)
    assert cache.firing("other") == cache.firing(tenant="b") == ()
    hear(cache, resolved, firing)
    assert cache.firing() == ()


def test_an_alert_of_somebody_who_was_erased_is_known_no_longer() -> None:
    cache = AlertCache(ManualClock(NOON_US))
    firing, _ = changes()
    hear(cache, firing)
    cache.take(ALERTS.name, firing.alert_id.encode(), None)
    assert cache.firing() == ()
    hear(cache, firing)
    assert cache.firing() == (firing,)


def test_a_budget_is_known_for_its_period() -> None:
    clock = ManualClock(NOON_US)
    cache = AlertCache(clock)
    hear(cache, a_budget(40.0), a_budget(60.0))
    known = cache.budget(tenant="a")
    assert known is not None
    assert (known.left, known.share) == (40.0, 0.6)
    clock.advance(seconds=3_600)
    assert cache.budget(tenant="a") is None


def test_of_several_budgets_the_one_with_the_least_left_is_told() -> None:
    cache = AlertCache(ManualClock(NOON_US))
    month = a_budget(95.0, alert_id="m", rule="month")
    hear(cache, a_budget(40.0), month)
    assert cache.budget(tenant="a") == month
    assert cache.budget("spent", tenant="a") == a_budget(40.0)


def test_a_budget_that_is_taken_back_is_not_known_any_more() -> None:
    cache = AlertCache(ManualClock(NOON_US))
    hear(cache, a_budget(40.0))
    cache.take(CONTROL.name, control_key(a_budget(40.0)), None)
    assert cache.budget(tenant="a") is None


def test_what_cannot_be_read_is_passed_over() -> None:
    cache = AlertCache(ManualClock(NOON_US))
    for topic in (ALERTS.name, CONTROL.name):
        for value in (None, b"", b"{}"):
            cache.take(topic, b"budget/x", value)
    assert cache.firing() == ()
    assert cache.budget() is None


def test_a_producer_asks_for_a_user_as_events_name_it() -> None:
    key = "0123456789abcdef0123456789abcdef"
    producer = Producer(transport=MemoryTransport(), clock=ManualClock(NOON_US), user_id_key=key)
    named = producer._intake.pseudonym("ann")
    assert named != "ann"
    hear(producer.alerts, a_budget(50.0, dims={"user": named}))
    known = producer.budget("ann")
    assert known is not None
    assert known.share == 0.5
    assert producer.budget("bob") is None
    producer.close_sync()


def test_a_book_tells_of_a_budget_with_every_hundredth() -> None:
    series = Series(rule_of("budget", metric="tokens", threshold=1_000, period="day"))
    told = []
    for second, tokens in enumerate((1, 1, 10, 500, 488)):
        series.at(second, tokens=tokens)
        told += [state.spent for state in series.book.budgets()]
    assert told == [1.0, 12.0, 512.0, 1_000.0]
