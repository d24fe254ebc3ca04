"""The broker's jars: pinned by hash, fetched once, kept in the user's cache.

``jars.txt`` names every jar and its SHA-256. `fetch_jars` hands out a folder that holds exactly
those, or raises: a folder that is half-filled or damaged is never handed out. The download happens
in a fresh folder beside the final one, which then takes its place by a rename; a lock keeps two
processes from fetching at the same time. jgo is given its own folder for everything it stores, so
that nothing is written outside the cache directory.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

import platformdirs

from backchannel_deploy.broker.errors import FetchCancelledError, JarsUnavailableError

THREADS = 6
ATTEMPTS_MAX = 4
RETRY_DELAY_S = 0.25


@dataclass(frozen=True, slots=True)
class PinnedJar:
    """One jar as ``jars.txt`` names it."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def filename(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a download is: jars in place, and bytes that came over the network."""

    jars_done: int
    jars_total: int
    bytes_done: int


class Repository(Protocol):
    """Where jars come from."""

    def download(self, jar: PinnedJar, folder: Path, on_bytes: Callable[[int], None]) -> Path:
        """Download ``jar`` somewhere below ``folder`` and return its path.

        ``on_bytes`` is told of every piece that arrived. Raises `OSError` (of which the network
        library's errors are a kind) or `RuntimeError` on failure; may leave partial files.
        """


def default_cache_dir() -> Path:
    """The cache directory: ``BACKCHANNEL_CACHE_DIR``, else the user's cache folder."""
    override = os.environ.get("BACKCHANNEL_CACHE_DIR")
    return Path(override) if override else platformdirs.user_cache_path("backchannel")


def pinned_jars() -> tuple[PinnedJar, ...]:
    """The list in ``jars.txt``."""
    return tuple(_parse(line) for line in _jars_txt().splitlines() if line)


def jars_dir(cache_dir: Path) -> Path:
    """Where the jars of this version of the list are kept; the name changes with the list."""
    return cache_dir / "broker" / hashlib.sha256(_jars_txt().encode()).hexdigest()[:16]


def fetch_jars(
    cache_dir: Path,
    progress: Callable[[FetchProgress], None] = lambda _: None,
    *,
    cancelled: threading.Event | None = None,
    repository: Repository | None = None,
) -> Path:
    """Return a folder that holds every pinned jar, downloading what is missing or damaged.

    Blocks; needs no network when the cache is complete. ``progress`` is called from several
    threads, and only when something has to be fetched. Setting ``cancelled`` makes it raise
    `FetchCancelledError` soon. Raises `JarsUnavailableError` when jars cannot be had.
    """
    final = jars_dir(cache_dir)
    if _is_complete(final):
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(final.parent / "lock", cancelled):
            if not _is_complete(final):  # another process may have fetched them meanwhile
                _fetch_into_place(
                    final,
                    _Meter(progress, cancelled or threading.Event(), len(pinned_jars())),
                    repository or MavenCentral(),
                )
    except OSError as error:
        raise JarsUnavailableError(
            f"The Kafka broker's jars cannot be stored in {cache_dir}: {error.strerror}. "
            "Set BACKCHANNEL_CACHE_DIR to a folder that can be written."
        ) from error
    return final


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class MavenCentral:
    """The public Maven repository, through jgo."""

    def download(self, jar: PinnedJar, folder: Path, on_bytes: Callable[[int], None]) -> Path:
        # jgo is slow to import, and only needed when something is missing.
        from jgo.maven import MavenContext, PythonResolver

        @contextmanager
        def watched(_filename: str, _bytes_total: int) -> Iterator[Callable[[int], None]]:
            yield on_bytes

        maven = MavenContext(
            repo_cache=folder,
            local_repos=[],
            resolver=PythonResolver(progress_callback=watched),
        )
        component = maven.project(jar.group, jar.artifact).at_version(jar.version)
        return Path(component.artifact().resolve())


class _Meter:
    """Adds up what the download threads report, and passes a cancellation on to them."""

    def __init__(
        self,
        report: Callable[[FetchProgress], None],
        cancelled: threading.Event,
        jars_total: int,
    ) -> None:
        self._report = report
        self._cancelled = cancelled
        self._jars_total = jars_total
        self._jars_done = 0
        self._bytes_done = 0
        self._lock = threading.Lock()

    def add_bytes(self, count: int) -> None:
        self.check()
        self._add(jars=0, count=count)

    def add_jar(self) -> None:
        self._add(jars=1, count=0)

    def check(self) -> None:
        if self._cancelled.is_set():
            raise FetchCancelledError("The download of the Kafka broker was stopped.")

    def cancel(self) -> None:
        self._cancelled.set()

    def pause(self, delay_s: float) -> None:
        self._cancelled.wait(delay_s)
        self.check()

    def _add(self, jars: int, count: int) -> None:
        with self._lock:
            self._jars_done += jars
            self._bytes_done += count
            self._report(FetchProgress(self._jars_done, self._jars_total, self._bytes_done))


def _fetch_into_place(final: Path, meter: _Meter, repository: Repository) -> None:
    for abandoned in final.parent.glob("fetching-*"):
        shutil.rmtree(
            abandoned, ignore_errors=True
        )  # of a process that was killed: we hold the lock
    workspace = Path(tempfile.mkdtemp(prefix="fetching-", dir=final.parent))
    try:
        fresh = workspace / "jars"
        fresh.mkdir()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="fetch-jars") as threads:
            jobs = [
                threads.submit(_place, jar, final, fresh, workspace, meter, repository)
                for jar in pinned_jars()
            ]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                meter.cancel()
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        if final.exists():  # it was found damaged
            final.rename(workspace / "damaged")
        fresh.rename(final)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _place(
    jar: PinnedJar,
    old: Path,
    fresh: Path,
    workspace: Path,
    meter: _Meter,
    repository: Repository,
) -> None:
    """Put one jar with the pinned content into ``fresh``: from ``old``, else by download."""
    target = fresh / jar.filename
    kept = old / jar.filename
    if _is_good(kept, jar):
        shutil.copyfile(kept, target)
    else:
        _download(jar, target, workspace, meter, repository)
    meter.add_jar()


def _download(
    jar: PinnedJar, target: Path, workspace: Path, meter: _Meter, repository: Repository
) -> None:
    failure: Exception | None = None
    for attempt in range(ATTEMPTS_MAX):
        if attempt:
            meter.pause(RETRY_DELAY_S * 2**attempt)
        # A folder for each attempt: jgo takes a partial file of an earlier one for the whole.
        folder = Path(tempfile.mkdtemp(prefix=f"{jar.artifact}-", dir=workspace))
        try:
            downloaded = repository.download(jar, folder, meter.add_bytes)
        except (OSError, RuntimeError) as error:
            failure = error
            continue
        if _is_good(downloaded, jar):
            downloaded.rename(target)
            return
        failure = None
    raise JarsUnavailableError(_explanation(jar, failure, workspace.parent)) from failure


def _explanation(jar: PinnedJar, failure: Exception | None, folder: Path) -> str:
    advice = (
        "Go online once and try again, or copy the folder "
        f"{folder} from a machine where backchannel has run."
    )
    if failure is None:
        return (
            f"The Kafka broker cannot be fetched: {jar.coordinate} arrived {ATTEMPTS_MAX} times "
            f"with a content that is not the expected one. {advice}"
        )
    # Not the whole text of it, which names the address with everything a proxy's setting may hold.
    reason = (isinstance(failure, OSError) and failure.strerror) or type(failure).__name__
    return (
        f"The Kafka broker is not in the cache yet and cannot be fetched: no download of "
        f"{jar.coordinate} ({reason}). {advice}"
    )


def _is_complete(folder: Path) -> bool:
    # All 44 MB are hashed at every start: 50 ms, and a damaged cache is noticed before it is run.
    return folder.is_dir() and all(_is_good(folder / jar.filename, jar) for jar in pinned_jars())


def _is_good(path: Path, jar: PinnedJar) -> bool:
    return path.is_file() and sha256_of(path) == jar.sha256


@contextmanager
def _locked(path: Path, cancelled: threading.Event | None) -> Iterator[None]:
    """Hold the lock file; the kernel gives it back when this process ends in any way."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if cancelled is not None and cancelled.is_set():
                    raise FetchCancelledError(
                        "The download of the Kafka broker was stopped."
                    ) from None
                time.sleep(0.1)
        yield


def _parse(line: str) -> PinnedJar:
    coordinate, sha256 = line.split()
    group, artifact, version = coordinate.split(":")
    return PinnedJar(group, artifact, version, sha256)


def _jars_txt() -> str:
    return resources.files(__package__).joinpath("jars.txt").read_text(encoding="utf-8")
