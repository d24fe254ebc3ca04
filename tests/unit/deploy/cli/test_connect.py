"""Where the commands find Kafka and ClickHouse."""

import os
from pathlib import Path

import psutil
import pytest

from backchannel_deploy.connect import (
    find_clickhouse,
    find_database,
    find_kafka,
    without_secrets,
)
from backchannel_deploy.errors import UserError
from backchannel_deploy.up.running import RunningUp, announce


def running_up(data_dir: Path, cache_dir: Path) -> dict[str, str]:
    """Says that this very process is an `up`; returns the environment that finds it."""
    data_dir.mkdir()
    created_ms = round(psutil.Process().create_time() * 1000)
    announce(
        RunningUp(
            pid=os.getpid(),
            started_at_ms=created_ms,
            kafka="127.0.0.1:1234",
            clickhouse="http://127.0.0.1:5678",
            data_dir=data_dir,
            version="1",
            processes=(),
        ),
        cache_dir,
    )
    return {"BACKCHANNEL_DATA_DIR": str(data_dir)}


def test_settings_win() -> None:
    env = {"BACKCHANNEL_KAFKA": "k:1", "BACKCHANNEL_CLICKHOUSE": "http://c:2"}

    assert find_kafka(env) == "k:1"
    assert find_clickhouse(env) == "http://c:2"


def test_without_settings_it_is_the_up_that_runs(tmp_path: Path) -> None:
    env = running_up(tmp_path / "data", tmp_path / "cache")

    assert find_kafka(env) == "127.0.0.1:1234"
    assert find_clickhouse(env) == "http://127.0.0.1:5678"


def test_nothing_to_talk_to_is_a_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`backchannel up`.*set BACKCHANNEL_KAFKA=localhost:9092"):
        find_kafka({"BACKCHANNEL_DATA_DIR": str(tmp_path)})


def test_the_database_has_a_default() -> None:
    assert find_database({}) == "backchannel"
    assert find_database({"BACKCHANNEL_DATABASE": "other"}) == "other"


def test_a_url_is_shown_without_what_is_secret() -> None:
    assert without_secrets("https://me:pw@host:8443/db?password=pw") == "https://host:8443/db"
