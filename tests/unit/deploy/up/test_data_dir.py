"""One supervisor owns a data directory, and clears up after the one before it."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from backchannel_deploy.up.data_dir import DataDir
from backchannel_deploy.up.errors import AlreadyRunningError, StartError
from backchannel_deploy.up.process_id import ProcessId, process_id


@pytest.fixture
def leftover() -> Iterator[ProcessId]:
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    ) as process:
        named = process_id("worker", process.pid)
        assert named is not None
        yield named
        process.kill()


def test_a_second_owner_is_refused(tmp_path: Path) -> None:
    with (
        DataDir(tmp_path).owned(),
        pytest.raises(AlreadyRunningError, match=str(tmp_path)),
        DataDir(tmp_path).owned(),
    ):
        pass


def test_it_can_be_owned_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with DataDir(tmp_path).owned():
            pass


def test_only_its_owner_can_look_into_it(tmp_path: Path) -> None:
    with DataDir(tmp_path / "data").owned():
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_machine_that_stopped_under_a_run_is_told_from_a_run_that_was_killed(
    tmp_path: Path, leftover: ProcessId
) -> None:
    data_dir = DataDir(tmp_path)
    assert not data_dir.machine_stopped()
    data_dir.remember_processes([leftover])
    assert not data_dir.machine_stopped()

    before_boot_ms = round(psutil.boot_time() * 1_000) - 60_000
    data_dir.remember_processes([replace(leftover, started_at_ms=before_boot_ms)])
    assert data_dir.machine_stopped()


def test_what_a_former_run_left_is_ended(tmp_path: Path, leftover: ProcessId) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.remember_processes([leftover])
    assert data_dir.end_leftovers() == [leftover]
    assert not leftover.is_alive()


def test_a_process_that_got_the_id_later_is_spared(tmp_path: Path, leftover: ProcessId) -> None:
    data_dir = DataDir(tmp_path)
    an_hour_before = leftover.started_at_ms - 3_600_000
    data_dir.remember_processes([replace(leftover, started_at_ms=an_hour_before)])
    assert data_dir.end_leftovers() == []
    assert leftover.is_alive()


def test_ports_are_remembered(tmp_path: Path) -> None:
    DataDir(tmp_path).remember_ports({"kafka": 1001})
    assert DataDir(tmp_path).remembered_ports() == {"kafka": 1001}


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{", encoding="utf-8")
    assert DataDir(tmp_path).remembered_ports() == {}


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(StartError, match="can't be the data directory"), DataDir(file).owned():
        pass
