"""The jars in the cache are the pinned ones, or there is an error that says what to do."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backchannel_deploy.broker import jars
from backchannel_deploy.broker.errors import FetchCancelledError, JarsUnavailableError
from backchannel_deploy.broker.jars import FetchProgress, PinnedJar, fetch_jars, jars_dir


def content_of(artifact: str) -> bytes:
    return f"the jar of {artifact}".encode()


PINNED = tuple(
    PinnedJar("org.example", artifact, "1.0", hashlib.sha256(content_of(artifact)).hexdigest())
    for artifact in ("alpha", "beta", "gamma")
)


class Shelf:
    """A repository on this machine that can be unplugged, or made to lie."""

    def __init__(self) -> None:
        self.downloads: list[str] = []
        self.unplugged = False
        self.lies: list[str] = []  # each entry spoils one download of that artifact

    def download(self, jar: PinnedJar, folder: Path, on_bytes: Callable[[int], None]) -> Path:
        self.downloads.append(jar.artifact)
        if self.unplugged:
            raise ConnectionError("no route")
        content = content_of(jar.artifact)
        if jar.artifact in self.lies:
            self.lies.remove(jar.artifact)
            content = content[:5]
        path = folder / jar.filename
        path.write_bytes(content)
        on_bytes(len(content))
        return path


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(jars, "pinned_jars", lambda: PINNED)
    monkeypatch.setattr(jars, "RETRY_DELAY_S", 0.001)
    return Shelf()


def test_an_empty_cache_is_filled_with_exactly_the_pinned_jars(
    shelf: Shelf, tmp_path: Path
) -> None:
    folder = fetch_jars(tmp_path, repository=shelf)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        jar.filename: content_of(jar.artifact) for jar in PINNED
    }


def test_a_full_cache_needs_no_repository(shelf: Shelf, tmp_path: Path) -> None:
    fetch_jars(tmp_path, repository=shelf)
    shelf.unplugged = True
    fetch_jars(tmp_path, repository=shelf)
    assert sorted(shelf.downloads) == ["alpha", "beta", "gamma"]


def test_a_damaged_jar_is_fetched_again_and_the_others_are_kept(
    shelf: Shelf, tmp_path: Path
) -> None:
    damaged = fetch_jars(tmp_path, repository=shelf) / "beta-1.0.jar"
    damaged.write_bytes(b"half of i")
    shelf.downloads.clear()
    fetch_jars(tmp_path, repository=shelf)
    assert shelf.downloads == ["beta"]
    assert damaged.read_bytes() == content_of("beta")


def test_a_broken_download_is_tried_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.lies = ["alpha", "alpha"]
    folder = fetch_jars(tmp_path, repository=shelf)
    assert shelf.downloads.count("alpha") == 3
    assert (folder / "alpha-1.0.jar").read_bytes() == content_of("alpha")


def test_a_download_that_stays_broken_is_never_called_good(shelf: Shelf, tmp_path: Path) -> None:
    shelf.lies = ["gamma"] * jars.ATTEMPTS_MAX
    with pytest.raises(JarsUnavailableError, match=r"org\.example:gamma:1\.0 arrived 4 times"):
        fetch_jars(tmp_path, repository=shelf)
    assert not jars_dir(tmp_path).exists()


def test_offline_with_an_empty_cache_says_what_to_do(shelf: Shelf, tmp_path: Path) -> None:
    shelf.unplugged = True
    with pytest.raises(JarsUnavailableError, match="Go online once") as failure:
        fetch_jars(tmp_path, repository=shelf)
    assert str(tmp_path / "broker") in str(failure.value)


def test_a_failure_leaves_nothing_behind(shelf: Shelf, tmp_path: Path) -> None:
    shelf.unplugged = True
    with pytest.raises(JarsUnavailableError):
        fetch_jars(tmp_path, repository=shelf)
    assert [path.name for path in (tmp_path / "broker").iterdir()] == ["lock"]


def test_what_a_killed_download_left_is_cleared(shelf: Shelf, tmp_path: Path) -> None:
    abandoned = tmp_path / "broker" / "fetching-abandoned"
    abandoned.mkdir(parents=True)
    fetch_jars(tmp_path, repository=shelf)
    assert not abandoned.exists()


def test_two_at_once_download_once(shelf: Shelf, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(fetch_jars, tmp_path, repository=shelf) for _ in range(2)]
    assert both[0].result() == both[1].result()
    assert sorted(shelf.downloads) == ["alpha", "beta", "gamma"]


def test_a_download_can_be_stopped(shelf: Shelf, tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(FetchCancelledError):
        fetch_jars(tmp_path, repository=shelf, cancelled=cancelled)
    assert not jars_dir(tmp_path).exists()


def test_progress_counts_every_jar_and_byte(shelf: Shelf, tmp_path: Path) -> None:
    reports: list[FetchProgress] = []
    fetch_jars(tmp_path, reports.append, repository=shelf)
    bytes_total = sum(len(content_of(jar.artifact)) for jar in PINNED)
    assert reports[-1] == FetchProgress(jars_done=3, jars_total=3, bytes_done=bytes_total)


def test_a_cache_that_cannot_be_written_is_named(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "broker").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(JarsUnavailableError, match="BACKCHANNEL_CACHE_DIR"):
        fetch_jars(tmp_path, repository=shelf)


def test_the_list_pins_the_broker_and_its_log_bridge_without_addresses() -> None:
    pinned = {jar.artifact: jar for jar in jars.pinned_jars()}
    assert pinned["kafka_2.13"].version == "4.3.1"
    assert pinned["log4j-slf4j-impl"].version == pinned["log4j-core"].version
    assert all(len(jar.sha256) == 64 for jar in pinned.values())
    assert "//" not in "".join(jar.coordinate for jar in pinned.values())
