"""Whom an erasure means, what it signs, and what Kafka keeps."""

import json

import pytest

from backchannel_deploy.cli.app import run
from backchannel_deploy.erase.proof import SigningKey, completion, is_signed
from backchannel_deploy.erase.retention import PROMISED_DAYS, kept_ms, personal_topics, too_long
from backchannel_deploy.erase.settings import ErasureSettings
from backchannel_deploy.erase.subject import Subject, removals, user_keys
from backchannel_deploy.topics import all_topics

KEY = SigningKey("k" * 32)
DAY_MS = 86_400_000


def record(removed: int = 3) -> str:
    return completion("e1", "user", ("jo",), 1, 2, 3, {"events": removed})


def test_a_user_is_looked_for_under_the_plain_id_and_every_pseudonym() -> None:
    keys = user_keys("jo", {"": "first" * 8, "old": "second" * 8})

    assert keys[0] == "jo"
    assert [key.split(":")[0] for key in keys[1:]] == ["hmac", "hmac"]
    assert keys[2].startswith("hmac:old:")


def test_former_keys_are_read_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHANNEL_USER_ID_KEY", "now" * 8)
    monkeypatch.setenv("BACKCHANNEL_FORMER_USER_ID_KEYS", "a=old=1, b=old2")

    assert ErasureSettings().user_id_keys == {"a": "old=1", "b": "old2", "": "now" * 8}


def test_a_record_that_was_changed_is_not_the_signed_one() -> None:
    signature = KEY.sign(record())

    assert is_signed(record(), signature, KEY)
    assert not is_signed(record(4), signature, KEY)
    assert not is_signed(record(), signature, SigningKey("x" * 32))


def test_a_record_says_what_was_removed_and_when() -> None:
    told = json.loads(record())

    assert told["removed"] == {"events": 3}
    assert (told["requested_at_us"], told["completed_at_us"], told["rows_left"]) == (1, 2, 0)
    assert told["kafka_until_us"] == 3


def test_an_erasure_id_says_nothing_of_who_it_is() -> None:
    subject = Subject("user", ("jo",))

    assert subject.erasure_id(1) != subject.erasure_id(2)
    assert "jo" not in subject.erasure_id(1)


def test_a_conversation_has_no_series_of_its_own() -> None:
    tables = [each.table for each in removals("conversation")]

    assert tables == ["conversations", "events", "content", "dead_letters"]
    assert {"metric_windows", "alerts"} < {each.table for each in removals("user")}


def test_topics_that_keep_records_for_longer_than_promised_are_named() -> None:
    settings = {
        "short": {"retention.ms": str(7 * DAY_MS), "segment.ms": str(DAY_MS)},
        "long": {"retention.ms": str(24 * DAY_MS)},
        "for_ever": {"retention.ms": str(DAY_MS), "cleanup.policy": "compact"},
    }

    assert too_long(settings, 30) == {"for_ever": float("inf"), "long": 31.0}
    assert kept_ms(settings) == 31 * DAY_MS


def test_what_stands_on_compacted_topics_is_off_the_disk_soon_after_it_is_taken_back() -> None:
    compacted = [each.configs() for each in all_topics() if "compact" in each.cleanup]

    assert {each["max.compaction.lag.ms"] for each in compacted} == {str(DAY_MS)}


def test_no_topic_is_made_that_keeps_records_for_longer_than_promised() -> None:
    settings = {topic.name: topic.configs() for topic in personal_topics()}

    assert settings
    assert too_long(settings, PROMISED_DAYS) == {}


@pytest.mark.parametrize(
    "arguments", [["erase", "--user", "u", "--tenant", "t"], ["verify", "--since", "soon"]]
)
def test_a_mistake_is_told_in_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 1
    assert "backchannel:" in capsys.readouterr().err
