"""How other commands find the ``up`` that runs on this machine.

A running ``up`` keeps ``state.json`` in its data directory, and a pointer to that directory in the
user's cache, so that ``backchannel sql`` needs no settings, whatever folder it is called from.
"""

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import TypeAdapter, ValidationError

from backchannel_deploy.broker import default_cache_dir
from backchannel_deploy.up.json_file import read_json, write_json
from backchannel_deploy.up.process_id import ProcessId

STATE = "state.json"


@dataclass(frozen=True, slots=True)
class RunningUp:
    """A stack that is up: where it can be reached, and what it consists of."""

    pid: int
    started_at_ms: int
    kafka: str  # bootstrap servers
    clickhouse: str  # HTTP URL; carries credentials if the one given to `up` did
    data_dir: Path
    version: str
    processes: tuple[ProcessId, ...]
    probes: dict[str, str] = field(default_factory=dict)  # where each role answers, by its name

    @property
    def clickhouse_shown(self) -> str:
        """The ClickHouse URL without credentials: for people and logs."""
        return without_credentials(self.clickhouse)

    def is_alive(self) -> bool:
        """Whether its supervisor still runs."""
        return ProcessId("up", self.pid, self.started_at_ms).is_alive()


def find_running(data_dir: Path | None = None, cache_dir: Path | None = None) -> RunningUp | None:
    """The ``up`` that runs on ``data_dir``, or, without one, the newest that runs at all."""
    if data_dir is not None:
        return _read(data_dir)
    pointers = _pointers_dir(cache_dir or default_cache_dir())
    found = [_follow(pointer) for pointer in pointers.glob("*.json")]
    return max((up for up in found if up), key=lambda up: up.started_at_ms, default=None)


def announce(running: RunningUp, cache_dir: Path) -> None:
    """Let `find_running` find it; called again whenever a process of it has changed."""
    write_json(running.data_dir / STATE, {**asdict(running), "data_dir": str(running.data_dir)})
    write_json(_pointer(running.data_dir, cache_dir), {"data_dir": str(running.data_dir)})
    _forget_the_dead(_pointers_dir(cache_dir))


def withdraw(data_dir: Path, cache_dir: Path) -> None:
    """`find_running` shall find the one on ``data_dir`` no longer."""
    (data_dir / STATE).unlink(missing_ok=True)
    _pointer(data_dir, cache_dir).unlink(missing_ok=True)


def without_credentials(url: str) -> str:
    """``url`` without user, password and query (which may hold them too)."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


_ADAPTER = TypeAdapter(RunningUp)


def _read(data_dir: Path) -> RunningUp | None:
    content = read_json(data_dir / STATE)
    if content is None:
        return None
    try:
        running = _ADAPTER.validate_python(content)
    except ValidationError:  # of another version
        return None
    return running if running.is_alive() else None


def _follow(pointer: Path) -> RunningUp | None:
    content = read_json(pointer)
    if content is None or "data_dir" not in content:
        return None
    return _read(Path(str(content["data_dir"])))


def _forget_the_dead(pointers: Path) -> None:
    """Remove what killed supervisors left, so that the folder does not grow for ever."""
    for pointer in pointers.glob("*.json"):
        if _follow(pointer) is None:
            pointer.unlink(missing_ok=True)


def _pointers_dir(cache_dir: Path) -> Path:
    return cache_dir / "running"


def _pointer(data_dir: Path, cache_dir: Path) -> Path:
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    return _pointers_dir(cache_dir) / f"{name}.json"
