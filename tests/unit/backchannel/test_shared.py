"""One producer for a process: made once, found from anywhere, never in the bot's way."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import backchannel
from backchannel import MemoryTransport, SettingsError, shared
from backchannel.events import Interaction


@pytest.fixture(autouse=True)
def nobody_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shared, "_shared", None)
    monkeypatch.delenv("BACKCHANNEL_KAFKA", raising=False)
    yield
    if shared._shared is not None:
        shared._shared.close_sync(0.1)


def test_the_same_producer_is_found_from_anywhere() -> None:
    producer = backchannel.init("a:1", service="bot")

    assert backchannel.get_producer() is producer
    assert backchannel.init() is producer


def test_threads_that_ask_at_once_get_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHANNEL_KAFKA", "a:1")
    together = threading.Barrier(8)

    def ask(_: int) -> backchannel.Producer:
        together.wait(10)
        return backchannel.get_producer()

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1


def test_the_same_settings_again_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    first = backchannel.init("a:1", service="bot")

    assert backchannel.init("a:1", service="bot") is first
    assert caplog.records == []


def test_other_settings_are_told_by_name_and_the_first_ones_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = backchannel.init("a:1", service="bot")

    assert backchannel.init("b:1", service="other", sasl_password="s3cret") is first
    assert "another kafka, sasl_password, service" in caplog.text
    assert "s3cret" not in caplog.text
    assert first.settings.service == "bot"


def test_after_closing_a_new_one_is_made() -> None:
    first = backchannel.init(transport=MemoryTransport())
    first.close_sync()

    second = backchannel.init(transport=MemoryTransport())

    assert second is not first
    assert second.track(Interaction())


def test_without_any_setting_it_is_disabled_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    producer = backchannel.get_producer()

    assert not producer.track(Interaction())
    assert backchannel.get_producer() is producer
    assert caplog.text.count("nothing is sent") == 1
    assert backchannel.init("a:1") is not producer


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHANNEL_KAFKA", "a:1")

    assert backchannel.get_producer().settings.kafka == "a:1"


def test_the_first_call_tells_every_mistake() -> None:
    with pytest.raises(SettingsError, match="no Kafka address"):
        backchannel.init()


def test_a_disabled_one_is_one_as_well() -> None:
    assert backchannel.init(disabled=True) is backchannel.init(disabled=True)
