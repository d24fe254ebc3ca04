"""The settings as `doctor` shows them: each with its source, none with a secret."""

import pytest

from backchannel import ProducerSettings
from backchannel_deploy.cli.app import run
from backchannel_deploy.doctor.configured import (
    Setting,
    Source,
    mistakes_of_roles,
    settings_of,
    unknown_variables,
)


def setting(sources: tuple[Source, ...], role: str, variable: str) -> Setting:
    (found,) = (
        each for each in settings_of(sources) if (each.role, each.variable) == (role, variable)
    )
    return found


def test_every_role_that_is_installed_shows_its_settings() -> None:
    assert {each.role for each in settings_of(())} == {
        *("producer", "worker", "sink", "notifier", "exporter", "up", "migrate", "erase"),
    }


def test_the_first_source_that_has_a_setting_wins() -> None:
    sources = (
        Source("argument", {"BACKCHANNEL_KAFKA": ""}),
        Source("environment", {"BACKCHANNEL_KAFKA": "a:1"}),
        Source("the rest", {"BACKCHANNEL_KAFKA": "b:2", "BACKCHANNEL_LINGER_MS": "7"}),
    )

    kafka = setting(sources, "producer", "BACKCHANNEL_KAFKA")
    linger = setting(sources, "producer", "BACKCHANNEL_LINGER_MS")
    assert (kafka.value, kafka.source) == ("a:1", "environment")
    assert (linger.value, linger.source) == ("7", "the rest")


def test_the_producer_alone_reads_the_env_file() -> None:
    file = Source(".env", {"BACKCHANNEL_KAFKA": "a:1"})
    settings = settings_of((), producer=(file,))
    found = {each.role: each for each in settings if each.variable == "BACKCHANNEL_KAFKA"}

    assert (found["producer"].value, found["producer"].source) == ("a:1", ".env")
    assert found["worker"].source == "default"


def test_a_default_is_shown_as_what_it_is() -> None:
    found = setting((), "producer", "BACKCHANNEL_LINGER_MS")

    assert (found.value, found.source) == (str(ProducerSettings(kafka="a:1").linger_ms), "default")


def test_no_secret_is_shown() -> None:
    names = [each.variable for each in settings_of(())]
    url = "http://ana:canary@clickhouse:8123"
    everything = dict.fromkeys(names, "canary") | {"BACKCHANNEL_CLICKHOUSE": url}
    shown = settings_of((Source("environment", everything),))

    hidden = {each.variable for each in shown if "canary" not in each.value}
    assert {
        "BACKCHANNEL_KAFKA_SASL_PASSWORD",
        "BACKCHANNEL_KAFKA_SSL_KEY_PASSWORD",
        "BACKCHANNEL_CLICKHOUSE",
    } <= hidden


def test_a_mistyped_variable_is_told_with_the_one_that_is_meant() -> None:
    environ = {"BACKCHANNEL_KAFAK": "x", "BACKCHANNEL_KAFKA": "y", "BACKCHANNEL_OWN": "z"}
    (finding,) = unknown_variables(settings_of(()), environ)

    assert finding.told == "BACKCHANNEL_KAFAK is set, and nothing reads it."
    assert finding.advice == "Is BACKCHANNEL_KAFKA meant?"


def test_what_a_role_cannot_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHANNEL_FAST_FLUSH_S", "soon")

    (finding,) = mistakes_of_roles("a:1", "http://b:2")
    assert finding.told.startswith("BACKCHANNEL_FAST_FLUSH_S: ")
    assert "worker" in finding.advice


def test_without_a_kafka_the_exit_code_is_1_and_the_advice_is_to_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.setenv("BACKCHANNEL_DATA_DIR", str(tmp_path))

    assert run(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "No Kafka is configured, and none runs here." in shown
    assert "backchannel up" in shown
