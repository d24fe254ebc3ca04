"""Where settings come from, which one wins, and how mistakes are told."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from backchannel import KafkaSecurity, Producer, ProducerSettings, SettingsError
from backchannel.sending.kafka import KafkaTransport
from backchannel.settings import SettingsArguments


def test_arguments_win_over_the_environment_and_that_over_defaults() -> None:
    environ = {
        "BACKCHANNEL_KAFKA": "a:1",
        "BACKCHANNEL_LINGER_MS": "7",
        "BACKCHANNEL_SERVICE": "from-environment",
    }

    settings = ProducerSettings.load(environ=environ, arguments={"service": "from-argument"})

    assert (settings.kafka, settings.linger_ms, settings.service) == ("a:1", 7, "from-argument")
    assert settings.batch_bytes_max == ProducerSettings(kafka="a:1").batch_bytes_max


def test_the_address_may_be_given_in_the_call() -> None:
    settings = ProducerSettings.load("b:2, [::1]:9092", environ={"BACKCHANNEL_KAFKA": "a:1"})

    assert settings.kafka == "b:2, [::1]:9092"


def test_all_mistakes_are_told_at_once() -> None:
    environ = {
        "BACKCHANNEL_LINGER_MS": "soon",
        "BACKCHANNEL_DISABLED": "maybe",
        "BACKCHANNEL_KAFKA_SECURITY_PROTOCOL": "TLS",
    }
    arguments: SettingsArguments = {"origin": "yesterday", "compression": "zip"}

    with pytest.raises(SettingsError) as raised:
        ProducerSettings.load(environ=environ, arguments=arguments)

    told = str(raised.value)
    for word in ("no Kafka address", "LINGER_MS", "DISABLED", "security_protocol", "origin", "zip"):
        assert word in told


def test_what_is_no_setting_or_of_another_type_is_told_with_all_other_mistakes() -> None:
    given: Any = {"linger": 5, "service": 7, "health_interval_s": "often", "on_full": "wait"}

    with pytest.raises(SettingsError) as caught:
        Producer("127.0.0.1:9092", **given)

    assert caught.value.mistakes == (
        "there is no setting linger: is linger_ms meant?",
        "service must be a text",
        "health_interval_s must be a number",
        "on_full must be one of drop_newest, drop_oldest, spill",
    )


def test_none_is_not_given() -> None:
    given: Any = {"service": None, "linger_ms": None}
    environ = {"BACKCHANNEL_KAFKA": "a:1", "BACKCHANNEL_SERVICE": "bot"}
    settings = ProducerSettings.load(None, environ=environ, arguments=given)

    assert (settings.service, settings.linger_ms) == ("bot", 50)


@pytest.mark.parametrize("kafka", ["localhost", "http://a:1", "a:1,,b:2", "a:b", "a:1 b:2"])
def test_an_address_without_host_and_port_is_a_mistake(kafka: str) -> None:
    with pytest.raises(SettingsError, match="host:port"):
        ProducerSettings(kafka=kafka)


@pytest.mark.parametrize(
    ("name", "value"),
    [("linger_ms", -1), ("batch_bytes_max", 2**20), ("buffer_bytes_max", 1000)],
)
def test_numbers_have_bounds(name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=name):
        ProducerSettings(kafka="a:1", **{name: value})  # type: ignore[arg-type]  # by name


def test_the_environment_reaches_the_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHANNEL_KAFKA", "broker:9093")
    monkeypatch.setenv("BACKCHANNEL_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("BACKCHANNEL_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    monkeypatch.setenv("BACKCHANNEL_KAFKA_SASL_USERNAME", "bot")
    monkeypatch.setenv("BACKCHANNEL_KAFKA_SASL_PASSWORD", "s3cret")

    settings = Producer().settings

    assert settings.kafka == "broker:9093"
    assert settings.security.sasl_password == "s3cret"


def test_sasl_and_tls_reach_the_kafka_client() -> None:
    security = KafkaSecurity(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username="bot",
        sasl_password="s3cret",
    )

    options = KafkaTransport(ProducerSettings(kafka="a:1", security=security))._options

    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == "SCRAM-SHA-256"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("bot", "s3cret")
    assert options["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert options["ssl_context"].check_hostname


def test_a_ready_context_is_passed_on() -> None:
    context = ssl.create_default_context()

    security = KafkaSecurity(security_protocol="SSL", ssl_context=context)

    assert security.aiokafka()["ssl_context"] is context


def test_an_open_connection_passes_nothing_on() -> None:
    assert KafkaSecurity().aiokafka() == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"security_protocol": "SASL_SSL"}, "needs sasl_username and sasl_password"),
        ({"sasl_username": "u", "sasl_password": "s3cret"}, "need security_protocol SASL"),
        ({"security_protocol": "SSL", "ssl_cafile": "/nowhere.pem"}, "ssl_cafile cannot be read"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}, "token_provider"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "MD5"}, "must be one of PLAIN"),
        ({"ssl_context": ssl.create_default_context()}, "need security_protocol SSL"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_security_that_does_not_fit_together_is_a_mistake(
    wrong: SettingsArguments, told: str
) -> None:
    with pytest.raises(SettingsError, match=told) as raised:
        ProducerSettings.load("a:1", environ={}, arguments=wrong)

    assert "s3cret" not in str(raised.value)


def test_a_file_without_certificates_is_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")

    with pytest.raises(SettingsError, match="ssl_cafile holds no certificates"):
        Producer("a:1", security_protocol="SSL", ssl_cafile=str(file))


def test_a_compression_that_is_not_installed_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backchannel.sending.kafka.find_spec", lambda name: None)

    with pytest.raises(SettingsError, match="compression lz4 needs the package cramjam"):
        Producer("a:1", compression="lz4")


def test_no_password_is_in_a_representation() -> None:
    security = KafkaSecurity(
        security_protocol="SASL_SSL", sasl_username="bot", sasl_password="s3cret"
    )
    settings = ProducerSettings(kafka="a:1", security=security)

    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)
