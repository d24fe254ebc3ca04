"""What a person at the terminal reads."""

import io
from pathlib import Path

from rich.console import Console

from backchannel_deploy.broker import FetchProgress
from backchannel_deploy.up.console import ConsoleProgress, print_addresses
from backchannel_deploy.up.running import RunningUp

RUNNING = RunningUp(
    pid=1,
    started_at_ms=1,
    kafka="127.0.0.1:1001",
    clickhouse="http://ada:secret@127.0.0.1:1002",
    data_dir=Path("somewhere"),
    version="1.2.3",
    processes=(),
)


def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_addresses_are_shown_without_credentials() -> None:
    shown = console()
    print_addresses(shown, RUNNING)
    assert "127.0.0.1:1001" in text(shown)
    assert "http://127.0.0.1:1002" in text(shown)
    assert "secret" not in text(shown)


def test_a_download_is_shown_in_files_and_bytes() -> None:
    shown = console()
    with ConsoleProgress(shown) as progress:
        progress.fetched(FetchProgress(jars_done=12, jars_total=46, bytes_done=7_500_000))
    assert "12/46 files" in text(shown)
    assert "7.5 MB" in text(shown)


def test_without_a_download_there_is_no_bar() -> None:
    shown = console()
    with ConsoleProgress(shown) as progress:
        progress.phase("Starting [something]")
    assert text(shown).splitlines() == ["\x1b[2m·\x1b[0m Starting [something]"]
