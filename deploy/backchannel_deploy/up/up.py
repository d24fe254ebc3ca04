"""The whole pipeline on one machine, each part in a process of its own.

    own the data directory ─▶ end leftovers ─▶ broker ─▶ ClickHouse ─▶ prepare ─▶ roles ─▶ announce

Every step waits for the one before it; stopping goes the other way round. What dies is started
again (process.py). Kafka and ClickHouse are left out where the settings name others.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from backchannel_deploy import broker
from backchannel_deploy.disk import disk_complaint, free_bytes
from backchannel_deploy.up.data_dir import DataDir
from backchannel_deploy.up.errors import StartError
from backchannel_deploy.up.ports import LOOPBACK, choose_ports, port_is_free
from backchannel_deploy.up.process import ProcessSpec, SupervisedProcess
from backchannel_deploy.up.process_id import ProcessId, process_id
from backchannel_deploy.up.progress import Progress, Silent
from backchannel_deploy.up.roles import ROLES, Role
from backchannel_deploy.up.running import RunningUp, announce, withdraw
from backchannel_deploy.up.settings import UpSettings
from backchannel_deploy.up.specs import broker_spec, clickhouse_spec, role_spec

PORT_ATTEMPTS_MAX = 3
LOG_CHECK_S = 60.0
DISK_CHECK_S = 10.0

log = structlog.get_logger("backchannel.up")

Prepare = Callable[[str, str], Awaitable[None]]
"""Does in ``(kafka, clickhouse)`` what has to be done before the roles start: creates topics and
tables, or repairs what a power failure left. Safe to repeat."""


class Up:
    """The stack, as an async context manager: ready inside, stopped afterwards.

    Must be started in the main thread: the kernel ends each part when the thread that started it
    ends.
    """

    def __init__(
        self,
        settings: UpSettings,
        prepare: Prepare,
        *,
        recover: Prepare | None = None,
        roles: tuple[Role, ...] = ROLES,
        progress: Progress | None = None,
    ) -> None:
        self._settings = settings
        self._prepare = prepare
        self._recover = recover
        self._roles = roles
        self._progress = progress or Silent()
        self._data_dir = DataDir(settings.data_dir)
        self._kafka = settings.kafka or ""
        self._clickhouse = settings.clickhouse.get_secret_value() if settings.clickhouse else ""
        self._ports: dict[str, int] = {}
        self._processes: list[SupervisedProcess] = []
        self._to_undo = contextlib.AsyncExitStack()
        self._running: RunningUp | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def running(self) -> RunningUp:
        """Where everything can be reached."""
        assert self._running is not None, "start it first"
        return self._running

    async def start(self) -> RunningUp:
        """Start everything and return when it is ready.

        Raises `UpError` or `BrokerError` with a sentence for a person, and whatever ``prepare``
        raises; what was started is stopped again then.
        """
        try:
            self._to_undo.enter_context(self._data_dir.owned())
            if complaint := self._disk_complaint():
                raise StartError(complaint)
            self._watch_disk()
            machine_stopped = self._data_dir.machine_stopped()
            await self._end_leftovers()
            if not self._settings.kafka:
                await self._start_broker()
            if not self._settings.clickhouse:
                await self._start_clickhouse()
            self._progress.phase("Preparing topics and tables")
            await self._prepare(self._kafka, self._clickhouse)
            if machine_stopped and self._recover is not None:
                # Neither Kafka nor ClickHouse has every write on the disk at once.
                self._progress.phase("The machine has stopped: looking for what was lost")
                await self._recover(self._kafka, self._clickhouse)
            addresses = {
                "BACKCHANNEL_KAFKA": self._kafka,
                "BACKCHANNEL_CLICKHOUSE": self._clickhouse,
            }
            await self._start_roles(addresses)
            self._announce()
            self._keep_logs_small()
        except BaseException:
            await self.stop()
            raise
        return self.running

    async def stop(self) -> None:
        """Stop everything, the last started first; each part has a bounded time for it."""
        await self._to_undo.aclose()

    def kill(self) -> None:
        """End every part at once. A `stop` that is under way returns soon after."""
        for process in self._processes:
            process.kill()

    async def _end_leftovers(self) -> None:
        withdraw(self._data_dir.path, self._settings.cache_dir)
        for leftover in await asyncio.to_thread(self._data_dir.end_leftovers):
            log.warning("leftover_ended", process=leftover.name, pid=leftover.pid)

    async def _start_broker(self) -> None:
        self._progress.phase("Looking for the Kafka broker")
        java = await asyncio.to_thread(broker.find_java)
        jars = await self._fetch_jars()

        async def start_on_ports() -> None:
            config = broker.BrokerConfig(
                self._data_dir.kafka, self._ports["kafka"], self._ports["kafka_controller"]
            )
            self._kafka = config.bootstrap
            self._progress.phase(f"Starting the Kafka broker ({config.bootstrap})")
            await asyncio.to_thread(broker.prepare, config, java, jars)
            await self._start(broker_spec(config, java, jars, self._data_dir))

        await self._with_ports(
            {
                "kafka": self._settings.kafka_port,
                "kafka_controller": self._settings.kafka_controller_port,
            },
            start_on_ports,
        )

    async def _start_clickhouse(self) -> None:
        async def start_on_port() -> None:
            port = self._ports["clickhouse"]
            self._clickhouse = f"http://{LOOPBACK}:{port}"
            self._progress.phase(f"Starting the embedded ClickHouse ({self._clickhouse})")
            await self._start(clickhouse_spec(port, self._clickhouse, self._data_dir))

        await self._with_ports({"clickhouse": self._settings.clickhouse_port}, start_on_port)

    async def _start_roles(self, addresses: dict[str, str]) -> None:
        """Starts all of them at once: each takes some seconds to be given its partitions."""
        wished = self._settings.role_ports
        self._choose_ports({r.name: wished[r.name] for r in self._roles if r.name in wished})
        self._progress.phase(f"Starting {' and '.join(role.name for role in self._roles)}")
        starts = [
            asyncio.ensure_future(
                self._start(role_spec(role, addresses, self._data_dir, self._ports.get(role.name)))
            )
            for role in self._roles
        ]
        try:
            await asyncio.gather(*starts)
        finally:
            for each in starts:
                each.cancel()

    async def _fetch_jars(self) -> Path:
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(
                broker.fetch_jars,
                self._settings.cache_dir,
                self._progress.fetched,
                cancelled=cancelled,
            )
        except asyncio.CancelledError:
            cancelled.set()  # a thread cannot be cancelled, only asked
            raise

    async def _with_ports(
        self, preferred: dict[str, int], start: Callable[[], Awaitable[None]]
    ) -> None:
        """Choose ports and call ``start``; again when another process took one in between."""
        for attempt in range(1, PORT_ATTEMPTS_MAX + 1):
            self._choose_ports(preferred)
            try:
                await start()
            except StartError:
                ours = [self._ports[name] for name in preferred]
                if attempt == PORT_ATTEMPTS_MAX or all(map(port_is_free, ours)):
                    raise
            else:
                return

    def _choose_ports(self, preferred: dict[str, int]) -> None:
        remembered = self._data_dir.remembered_ports()
        chosen = choose_ports(preferred, remembered)
        for name, port in chosen.items():
            wish = remembered.get(name) or preferred[name]
            if wish not in (0, port):
                self._progress.note(f"Port {wish} ({name}) is taken, using {port} instead.")
        self._ports |= chosen
        self._data_dir.remember_ports({**remembered, **chosen})

    async def _start(self, spec: ProcessSpec) -> None:
        process = SupervisedProcess(spec, self._processes_changed)
        self._processes.append(process)
        self._to_undo.push_async_callback(self._stop, process)
        await process.start()

    async def _stop(self, process: SupervisedProcess) -> None:
        self._progress.phase(f"Stopping the {process.name}")
        await process.stop()
        self._processes.remove(process)

    def _announce(self) -> None:
        self._to_undo.callback(self._withdraw)
        us = process_id("up", os.getpid())
        assert us is not None, "this process runs"
        self._running = RunningUp(
            pid=us.pid,
            started_at_ms=us.started_at_ms,
            kafka=self._kafka,
            clickhouse=self._clickhouse,
            data_dir=self._data_dir.path,
            version=version("backchannel"),
            processes=self._process_ids(),
            probes={
                role.name: f"http://{LOOPBACK}:{self._ports[role.name]}"
                for role in self._roles
                if role.name in self._ports
            },
        )
        announce(self._running, self._settings.cache_dir)

    def _withdraw(self) -> None:
        self._running = None
        withdraw(self._data_dir.path, self._settings.cache_dir)

    def _processes_changed(self) -> None:
        processes = self._process_ids()
        try:
            self._data_dir.remember_processes(processes)
            if self._running is not None:
                self._running = replace(self._running, processes=processes)
                announce(self._running, self._settings.cache_dir)
        except OSError as error:  # a full disk must not end what still runs
            log.error("state_not_written", error=error.strerror)

    def _process_ids(self) -> tuple[ProcessId, ...]:
        running = [(each.name, each.pid) for each in self._processes if each.pid is not None]
        found = [process_id(name, pid) for name, pid in running]
        return tuple(each for each in found if each is not None)

    def _watch_disk(self) -> None:
        async def check() -> None:
            told = ""
            while True:
                complaint = self._disk_complaint()
                if complaint and not told:
                    log.error("disk_full", why=complaint)
                elif told and not complaint:
                    log.warning("disk_freed")
                told = complaint
                await asyncio.sleep(DISK_CHECK_S)

        self._to_undo.callback(asyncio.create_task(check(), name="watch-disk").cancel)

    def _disk_complaint(self) -> str:
        return disk_complaint(self._data_dir.path, free_bytes(self._data_dir.path))

    def _keep_logs_small(self) -> None:
        async def check() -> None:
            while True:
                await asyncio.sleep(LOG_CHECK_S)
                for process in self._processes:
                    process.rotate_log()

        self._to_undo.callback(asyncio.create_task(check(), name="keep-logs-small").cancel)
