"""apprise itself, against a server on this machine."""

import pytest
from apprise.plugins import pagerduty

from backchannel_sinks.notifier.by_apprise import ByApprise
from backchannel_sinks.notifier.errors import DeliveryError, PlanError
from support.alerts import a_message, an_alert, resolved
from support.receiver import Receiver

# apprise imports it on Python 3.11 and 3.12, where it is still there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

ALERT = an_alert(severity="critical")


@pytest.fixture
def pager(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> ByApprise:
    """PagerDuty, as apprise knows it, with the receiver in the place of its server."""
    monkeypatch.setitem(pagerduty.PAGERDUTY_API_LOOKUP, "us", receiver.url("ok"))
    return ByApprise("oncall", "pagerduty://integration@key")


async def test_pagerduty_opens_an_incident_for_the_thread(
    pager: ByApprise, receiver: Receiver
) -> None:
    await pager.send(a_message(ALERT))

    body = receiver.got[0].json
    assert (body["event_action"], body["dedup_key"]) == ("trigger", "thread-1")
    assert body["routing_key"] == "integration"
    assert body["payload"]["severity"] == "critical"
    assert "[FIRING] latency-p95 tenant=acme" in body["payload"]["summary"]


async def test_pagerduty_resolves_the_same_incident(pager: ByApprise, receiver: Receiver) -> None:
    await pager.send(a_message(ALERT))
    await pager.send(a_message(resolved(ALERT)))

    assert receiver.got[1].json == {
        "routing_key": "integration",
        "event_action": "resolve",
        "dedup_key": receiver.got[0].json["dedup_key"],
    }


async def test_a_long_summary_is_cut_where_pagerduty_ends(
    pager: ByApprise, receiver: Receiver
) -> None:
    alerts = [an_alert(tenant=f"t{n}", annotations={"summary": "x" * 900}) for n in range(9)]
    await pager.send(a_message(*alerts))

    (only,) = receiver.got
    assert len(only.json["payload"]["summary"]) <= 1_024


@pytest.mark.parametrize("path", ["500", "close", "redirect"])
async def test_what_is_no_delivery(receiver: Receiver, path: str) -> None:
    sender = ByApprise("hook", f"json://127.0.0.1:{receiver.port}/{path}")

    with pytest.raises(DeliveryError, match="apprise could not deliver it"):
        await sender.send(a_message(ALERT))
    assert [each.path for each in receiver.got] == [f"/{path}"]


async def test_a_target_that_hangs_is_left_after_a_while(receiver: Receiver) -> None:
    url = f"json://127.0.0.1:{receiver.port}/hang?rto=0.5"
    sender = ByApprise("hook", url, timeout_s=0.2)

    with pytest.raises(DeliveryError, match=r"no answer within 0.2 s"):
        await sender.send(a_message(ALERT))


def test_a_url_that_apprise_does_not_know_is_told_without_it() -> None:
    with pytest.raises(PlanError, match="target oncall: apprise: not a URL") as raised:
        ByApprise("oncall", "pagerdutee://secret@key")

    assert "secret" not in str(raised.value)
