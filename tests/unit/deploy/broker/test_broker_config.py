"""The broker's settings."""

from pathlib import Path

import pytest

from backchannel_deploy.broker import (
    BrokerConfig,
    FormatError,
    prepare,
    run_command,
    server_properties,
)

CONFIG = BrokerConfig(Path("data"), port=1001, controller_port=1002)


def properties() -> dict[str, str]:
    lines = server_properties(CONFIG).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_every_listener_is_on_loopback() -> None:
    listeners = properties()["listeners"].split(",")
    assert [listener.partition("://")[2] for listener in listeners] == [
        "127.0.0.1:1001",
        "127.0.0.1:1002",
    ]


def test_a_group_keeps_its_offsets_for_a_year() -> None:
    assert properties()["offsets.retention.minutes"] == "525600"


def test_a_topic_needs_an_explicit_creation() -> None:
    assert properties()["auto.create.topics.enable"] == "false"


def test_all_data_is_below_the_data_directory() -> None:
    assert properties()["log.dirs"] == "data/topics"
    assert CONFIG.properties_path == Path("data/server.properties")


def test_letters_beyond_ascii_are_escaped_as_java_reads_them() -> None:
    text = server_properties(BrokerConfig(Path("d\u00e4ta\U0001f680"), 1001, 1002))
    assert r"log.dirs=d\u00e4ta\ud83d\ude80/topics" in text.splitlines()


def test_a_comma_in_the_path_is_refused_because_kafka_would_see_two(tmp_path: Path) -> None:
    config = BrokerConfig(tmp_path / "a,b", 1001, 1002)
    with pytest.raises(FormatError, match="comma"):
        prepare(config, Path("java"), tmp_path)


def test_what_kafka_says_against_a_folder_is_shown(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'no, not there' >&2; exit 1\n", encoding="utf-8")
    java.chmod(0o755)
    with pytest.raises(FormatError, match="no, not there"):
        prepare(BrokerConfig(tmp_path / "data", 1001, 1002), java, tmp_path)


def test_the_heap_is_bounded_as_configured(tmp_path: Path) -> None:
    assert "-Xmx512m" in run_command(CONFIG, Path("java"), tmp_path)
