"""What a target is told, as text, as an event of Standard Webhooks, and as Alertmanager would."""

import json

from backchannel.events import Alert
from backchannel_sinks.notifier.message import alertmanager_body, standard_body
from support.alerts import a_message, an_alert, resolved

FIRST, SECOND = an_alert(tenant="acme"), an_alert(tenant="beta", severity="critical")


def test_the_title_says_what_fires_and_for_whom() -> None:
    assert a_message(FIRST).title == "[FIRING] latency-p95 tenant=acme"
    assert a_message(FIRST, SECOND).title == "[FIRING 2] latency-p95"
    assert a_message(FIRST, group={"tenant": "acme"}, left_out=9).title == "[FIRING 10] tenant=acme"


def test_the_text_says_what_is_wrong_since_when_and_what_to_do() -> None:
    texts = {"summary": "p95 of acme is 6.4 s", "runbook": "https://runbooks/latency"}

    assert a_message(an_alert(annotations=texts)).text.splitlines() == [
        "FIRING latency-p95 tenant=acme (error)",
        "p95 of acme is 6.4 s",
        "https://runbooks/latency",
        "since 2023-11-14T22:13:20Z, alert latency-",
    ]


def test_a_long_text_says_how_many_more_there_are() -> None:
    message = a_message(*(an_alert(tenant=f"t{number}") for number in range(12)), left_out=3)

    assert message.text.endswith("and 5 more")


def test_a_group_fires_while_one_of_it_does_and_is_as_bad_as_the_worst_that_fires() -> None:
    half = a_message(FIRST, resolved(SECOND))

    assert (half.status, half.severity) == ("firing", "error")
    assert a_message(resolved(FIRST), resolved(SECOND)).status == "resolved"


def test_the_standard_body_has_type_time_and_data() -> None:
    body = json.loads(standard_body(a_message(FIRST)))

    assert (body["type"], body["timestamp"]) == ("alert.firing", "2023-11-14T22:13:20Z")
    assert body["data"]["alerts"] == [FIRST.model_dump(mode="json")]
    assert body["data"]["id"] == a_message(FIRST).id


def test_the_bodies_of_two_attempts_are_the_same_bytes() -> None:
    message = a_message(FIRST, SECOND)
    again = type(message).model_validate_json(message.model_dump_json())

    assert standard_body(again) == standard_body(message)
    assert alertmanager_body(again) == alertmanager_body(message)


def test_no_field_of_a_body_can_hold_a_prompt_or_a_reply() -> None:
    # What is told of an alert is the alert, and the contract has no place for such a text.
    body = json.loads(standard_body(a_message(FIRST)))

    assert set(body["data"]["alerts"][0]) == set(Alert.model_fields)
    assert not {"prompt", "reply", "content", "text", "input", "output"} & set(Alert.model_fields)


def test_the_other_body_is_what_alertmanager_sends() -> None:
    body = json.loads(alertmanager_body(a_message(FIRST, resolved(SECOND), target="hook")))

    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "hook")
    assert body["groupLabels"] == {"alertname": "latency-p95"}
    assert body["commonLabels"] == {"alertname": "latency-p95", "origin": "live"}
    first, second = body["alerts"]
    assert first["labels"]["tenant"] == "acme"
    assert (first["status"], first["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert (second["status"], second["endsAt"]) == ("resolved", "2023-11-14T22:13:21Z")
