"""Other commands find the stack that runs, and no other."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from backchannel_deploy.up.process_id import process_id
from backchannel_deploy.up.running import RunningUp, announce, find_running, withdraw


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def this_process(data_dir: Path) -> RunningUp:
    us = process_id("up", os.getpid())
    assert us is not None
    return RunningUp(
        pid=us.pid,
        started_at_ms=us.started_at_ms,
        kafka="127.0.0.1:1001",
        clickhouse="http://127.0.0.1:1002",
        data_dir=data_dir,
        version="1.2.3",
        processes=(us,),
    )


def test_it_is_found_by_its_data_directory(tmp_path: Path, cache_dir: Path) -> None:
    announce(this_process(tmp_path), cache_dir)
    assert find_running(tmp_path) == this_process(tmp_path)


def test_it_is_found_without_any_settings(tmp_path: Path, cache_dir: Path) -> None:
    announce(this_process(tmp_path), cache_dir)
    assert find_running(cache_dir=cache_dir) == this_process(tmp_path)


def test_the_newest_of_several_is_found(tmp_path: Path, cache_dir: Path) -> None:
    older = this_process(tmp_path / "older")
    announce(replace(older, started_at_ms=older.started_at_ms - 500), cache_dir)
    announce(this_process(tmp_path / "newer"), cache_dir)
    found = find_running(cache_dir=cache_dir)
    assert found is not None
    assert found.data_dir == tmp_path / "newer"


def test_one_that_has_stopped_is_not_found(tmp_path: Path, cache_dir: Path) -> None:
    announce(this_process(tmp_path), cache_dir)
    withdraw(tmp_path, cache_dir)
    assert find_running(tmp_path) is None
    assert find_running(cache_dir=cache_dir) is None


def test_a_reused_process_id_is_not_taken_for_it(tmp_path: Path, cache_dir: Path) -> None:
    dead = this_process(tmp_path)
    announce(replace(dead, started_at_ms=dead.started_at_ms - 3_600_000), cache_dir)
    assert find_running(tmp_path) is None


def test_pointers_to_the_dead_do_not_pile_up(tmp_path: Path, cache_dir: Path) -> None:
    dead = this_process(tmp_path / "dead")
    announce(replace(dead, started_at_ms=1), cache_dir)
    announce(this_process(tmp_path / "alive"), cache_dir)
    assert len(list((cache_dir / "running").iterdir())) == 1


def test_a_state_file_of_another_version_is_not_understood(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"pid": "many"}', encoding="utf-8")
    assert find_running(tmp_path) is None


def test_only_the_owner_can_read_the_state(tmp_path: Path, cache_dir: Path) -> None:
    announce(this_process(tmp_path), cache_dir)
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


def test_credentials_are_not_shown(tmp_path: Path) -> None:
    running = replace(this_process(tmp_path), clickhouse="https://ada:secret@host:8443/?password=s")
    assert running.clickhouse_shown == "https://host:8443/"
