"""The data directory of one ``up``: what lies where, and who owns it.

lock             held by the supervisor as long as it lives; its content is the owner's id
ports.json       the ports of the last run, taken again by the next
processes.json   what the supervisor has started; the next run ends what is left of it
state.json       where everything can be reached, once all is ready (running.py)
logs/            <process>.log
kafka/           the broker's topics and settings
clickhouse/      the embedded ClickHouse's tables
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from backchannel_deploy.up.errors import AlreadyRunningError, StartError
from backchannel_deploy.up.json_file import read_json, write_json
from backchannel_deploy.up.process_id import SAME_START_MS, ProcessId
from backchannel_deploy.up.running import find_running

LEFTOVER_TIMEOUT_S = 5.0


class DataDir:
    """The folder ``path``, which needs not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def kafka(self) -> Path:
        return self.path / "kafka"

    @property
    def clickhouse(self) -> Path:
        return self.path / "clickhouse"

    def log_path(self, process: str) -> Path:
        return self.path / "logs" / f"{process}.log"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the directory; the kernel gives it back when this process ends in any way.

        Raises `AlreadyRunningError` when another process owns it, `StartError` when it can't be
        written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            file = (self.path / "lock").open("a+", encoding="ascii")
        except OSError as error:
            raise StartError(
                f"{self.path} can't be the data directory: {error.strerror}. "
                "Name another one: backchannel up --data-dir, or BACKCHANNEL_DATA_DIR."
            ) from error
        with file as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise AlreadyRunningError(self._who(lock.read().strip())) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def remembered_ports(self) -> dict[str, int]:
        """The ports of the last run by name; empty the first time."""
        content = read_json(self.path / "ports.json") or {}
        return {name: port for name, port in content.items() if isinstance(port, int)}

    def remember_ports(self, ports: dict[str, int]) -> None:
        write_json(self.path / "ports.json", ports)

    def remember_processes(self, processes: Iterable[ProcessId]) -> None:
        """Note what runs, so that the next run can end it if this one cannot."""
        write_json(
            self.path / "processes.json",
            {"processes": [asdict(process) for process in processes]},
        )

    def machine_stopped(self) -> bool:
        """Whether the last run ended because the machine did (a power failure, a reset): the newest
        writes of its parts may be lost. To be asked before anything is started."""
        booted_at_ms = psutil.boot_time() * 1_000
        return any(each.started_at_ms < booted_at_ms - SAME_START_MS for each in self._remembered())

    def end_leftovers(self) -> list[ProcessId]:
        """End what a former supervisor, killed, has left running, and return it. Blocks.

        In reverse order of their start, as an orderly stop does.
        """
        leftovers = [process for process in reversed(self._remembered()) if process.is_alive()]
        for process in leftovers:
            process.end(LEFTOVER_TIMEOUT_S)
        return leftovers

    def _remembered(self) -> list[ProcessId]:
        """What ran when it was last noted; nothing after an orderly end."""
        content = read_json(self.path / "processes.json") or {}
        try:
            return _PROCESSES.validate_python(content.get("processes", []))
        except ValidationError:
            return []

    def _who(self, pid: str) -> str:
        running = find_running(self.path)
        if running is None:
            return f"backchannel is already starting in {self.path} (pid {pid})."
        return (
            f"backchannel is already running here (pid {running.pid}, Kafka {running.kafka}, "
            f"ClickHouse {running.clickhouse_shown}): {self.path}"
        )


_PROCESSES = TypeAdapter(list[ProcessId])
