"""A process's log stays small, also while the process writes."""

from pathlib import Path

from backchannel_deploy.up.log_file import LogFile


def test_a_large_log_is_moved_aside_under_its_writer(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "worker.log", bytes_max=10)
    with log.open() as output:
        output.write(b"more than ten bytes\n")
        log.rotate_if_large()
        output.write(b"next\n")
    assert (tmp_path / "worker.log").read_bytes() == b"next\n"
    assert (tmp_path / "worker.log.1").read_bytes() == b"more than ten bytes\n"


def test_a_small_log_is_continued(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "worker.log")
    for line in (b"one\n", b"two\n"):
        log.rotate_if_large()
        with log.open() as output:
            output.write(line)
    assert log.last_lines(5) == ["one", "two"]


def test_the_last_lines_are_the_last(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "worker.log")
    with log.open() as output:
        output.write(b"".join(b"line %d\n" % number for number in range(10_000)))
    assert log.last_lines(2) == ["line 9998", "line 9999"]


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert LogFile(tmp_path / "absent.log").last_lines(3) == []
