"""A worker: one process with both agents. Ends with an error when it cannot go on; what it was
doing is done again by the next one."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any, Literal

import structlog
from aiokafka.errors import KafkaError
from prometheus_client.core import Metric

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import (
    ErasuresApplied,
    RulesPush,
    RulesVersion,
    control_key,
    read_rules,
    read_tombstone,
    seal_report,
)
from backchannel.events.control import RULES_BYTES_MAX
from backchannel.events.topics import CONTROL, EVENTS, METRICS, PARTIALS
from backchannel.following.control import ControlLog
from backchannel.probes.agent import REPORT_S, AgentState, process_name
from backchannel.probes.server import ProbeServer
from backchannel.security import KafkaSecurity
from backchannel_processors.erasures import Erasures
from backchannel_processors.errors import WorkerError
from backchannel_processors.faust_app import Group
from backchannel_processors.groupings import Groupings
from backchannel_processors.lease import Lease, end_process
from backchannel_processors.log_kafka import LogReader
from backchannel_processors.logs import configure_logs
from backchannel_processors.merge_agent import MergeAgent
from backchannel_processors.merge_partition import MergeRules
from backchannel_processors.outbox_kafka import Message, Outbox
from backchannel_processors.rules import Rules
from backchannel_processors.rules_source import RulesSource
from backchannel_processors.settings import WorkerSettings
from backchannel_processors.shell import Backlog, Tools
from backchannel_processors.source_partition import WindowRules
from backchannel_processors.topics import MERGES, SOURCES
from backchannel_processors.windows_agent import WindowsAgent
from backchannel_processors.worker_metrics import worker_metrics

__all__ = ["run_worker", "shipped_rules"]

_STOP_S = 8.0
_RETRY_S = 1.0
_REPORTS_PER_LOG = 4
_RULES_S = 2.0
"""How often the rules file is looked at. What is pushed is taken at once."""
_COLLECTOR_THRESHOLDS = (5_000, 10, 2_000)
"""Python's own (700, 10, 10) look through all states every few seconds, for some hundred
milliseconds each time, in which no alert is told. The states hold no cycles, and what else does is
little: it waits for a full collection for up to some hours."""
_SWITCH_S = 0.001
"""Faust fetches in a thread of its own, which waits for this long each time it wants to go on while
the agents are busy: with Python's own 5 ms for most of a fetch."""
_LEASE_SHARE = 0.8
"""Of the session timeout: the lease runs out before Kafka gives partitions away."""


def run_worker(settings: WorkerSettings) -> None:
    """Runs a worker until SIGTERM or SIGINT. Blocks; takes the process for itself.

    Waits for Kafka and for the topics. Ends the process with exit code 1 when it cannot go on,
    75 when it was frozen for too long: a supervisor is expected to start it again.
    """
    configure_logs()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_S)
    try:
        groupings = Groupings.parse(settings.groupings)
        rules = RulesSource(settings.rules or shipped_rules(), groupings)
        asyncio.run(_Worker(settings, groupings, rules).run())
    except Exception as error:  # noqa: BLE001 -- the edge of the process: told, and it ends
        _end(error)


def shipped_rules() -> Path:
    """Returns the rules that come with backchannel."""
    return Path(str(files("backchannel_deploy") / "rules" / "default.toml"))


class _Worker:
    def __init__(self, settings: WorkerSettings, groupings: Groupings, rules: RulesSource) -> None:
        self._settings = settings
        self._groupings = groupings
        self._source = rules
        self._look_at_rules = asyncio.Event()
        self._erasures = Erasures()
        self._look_at_erasures = asyncio.Event()
        self._log = structlog.get_logger()
        self._stopped = asyncio.Event()
        self._agents: tuple[WindowsAgent | MergeAgent, ...] = ()
        self._awaited = ""
        """What of Kafka is not there yet."""

    async def run(self) -> None:
        # What can't go on ends: a process that answers is alive.
        probes = ProbeServer(
            self._settings.probe_host,
            self._settings.worker_port,
            dead=lambda: "",
            unready=self._unready,
            collect=self._collect,
        )
        await probes.start()
        try:
            await self._run()
        finally:
            await probes.stop()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._look_at_rules.set)
        security, options = _access(self._settings.kafka)
        reader = LogReader(options)
        found = await self._wait_for_topics(reader)
        if found is None:
            await reader.stop()
            return
        sources, merges = found
        # Before the first decision: alerts of rules that a worker does not know would end.
        control = ControlLog(options, self._hear)
        await control.start()
        self._look()
        lease = Lease(self._settings.session_timeout_s * _LEASE_SHARE, SYSTEM_CLOCK)
        outbox, express = Outbox(options, lease), Outbox(options, lease)
        tools = Tools(
            outbox, express, reader, lambda *args: group.commit(*args), Backlog(SYSTEM_CLOCK)
        )
        windows = WindowsAgent(tools, self._window_rules(), self._settings, merge_partitions=merges)
        merge = MergeAgent(tools, self._merge_rules(sources, merges), self._settings)
        self._agents = (windows, merge)

        async def opened(assigned: dict[str, set[int]]) -> None:
            await windows.open(assigned[windows.topic])
            await merge.open(assigned[merge.topic])
            # Whoever had them may have ended before it let go of somebody.
            self._look_at_erasures.set()
            self._log.info(
                "partitions_assigned",
                windows=len(assigned[windows.topic]),
                merge=len(assigned[merge.topic]),
            )

        async def closed() -> None:
            await windows.close()
            await merge.close()

        group = Group(
            self._settings,
            security,
            {windows.topic: windows.take, merge.topic: merge.take},
            partitions=sources,
            opened=opened,
            closed=closed,
            failed=_end,
        )
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_vital(lease.keep()))]
            await outbox.start()
            await express.start()
            await self._tell_rules(outbox)
            running += [
                tasks.create_task(_vital(work))
                for work in (
                    windows.run(),
                    merge.run(),
                    self._follow_agents(outbox),
                    self._follow_control(control),
                    self._follow_rules(windows, merge, outbox),
                    self._follow_erasures(windows, merge, outbox),
                    group.start(),
                    group.wait_until_failed(),
                )
            ]
            self._log.info(
                "worker_started",
                rules=len(self._source.rules.all),
                rules_hash=self._source.rules.hash,
            )
            await self._stopped.wait()
            await closed()
            self._tell_agents()
            for each in running:
                each.cancel()
            await group.stop()
            await outbox.stop()
            await express.stop()
            await control.stop()
            await reader.stop()
        self._log.info("worker_stopped")

    def _stop(self) -> None:
        self._stopped.set()
        # A Kafka that says nothing is waited for in more places than can be cancelled. What was not
        # written by then is read again by the next owner.
        asyncio.get_running_loop().call_later(
            _STOP_S, _end, TimeoutError(f"Kafka did not answer for {_STOP_S:.0f} s: not waited for")
        )

    def _unready(self) -> str:
        if self._awaited or not self._agents:
            return self._awaited or "starting"
        # A worker that there is no partition for is ready as well: it waits for another's.
        return "" if all(each.is_open for each in self._agents) else "waits for its partitions"

    def _collect(self) -> Iterable[Metric]:
        return worker_metrics(self._states(), self._source)

    def _states(self) -> list[AgentState]:
        rules_hash, refused = self._source.rules.hash, self._source.refused
        return [
            replace(each.state(), configuration=rules_hash, refused=refused)
            for each in self._agents
        ]

    async def _wait_for_topics(self, reader: LogReader) -> tuple[int, int] | None:
        """Returns the partitions of events and of partials when everything is there; ``None`` when
        the worker was stopped before."""
        told = ""
        started = False
        while not self._stopped.is_set():
            missing: list[str] = []
            try:
                if not started:
                    await reader.start()
                    started = True
                found = {
                    topic: await reader.partitions(topic)
                    for topic in (*SOURCES, *MERGES, CONTROL.name)
                }
                missing = [topic for topic, partitions in found.items() if not partitions]
                state = f"topics missing: {', '.join(missing)}" if missing else ""
            except (KafkaError, OSError) as error:
                await reader.stop()
                state = f"no answer from Kafka at {self._settings.kafka} ({type(error).__name__})"
            self._awaited = state
            if not state:
                return _counts(found)
            if state != told:
                self._log.warning("kafka_awaited", state=state)
                told = state
            await asyncio.sleep(_RETRY_S)
        return None

    def _window_rules(self) -> WindowRules:
        return WindowRules(
            groupings=self._groupings,
            fast=self._source.rules.groupings,
            limits=self._source.rules.limits,
            lateness_s=self._settings.lateness_s,
            ahead_s=self._settings.clock_ahead_s,
            behind_s=self._settings.clock_behind_s,
            idle_s=self._settings.idle_s,
            series_max=self._settings.series_max,
            conversation_silence_s=self._settings.conversation_silence_s,
            conversations_max=self._settings.conversations_max,
        )

    def _merge_rules(self, sources: int, merges: int) -> MergeRules:
        return MergeRules(
            sources=sources,
            partitions=merges,
            alerts=self._source.rules,
            lateness_s=self._settings.lateness_s,
            idle_s=self._settings.idle_s,
        )

    async def _tell_rules(self, outbox: Outbox) -> None:
        """Publishes the rules in force under their hash, before any alert names it."""
        source = self._source
        version = RulesVersion(
            rules_hash=source.rules.hash,
            text=source.text if len(source.text.encode()) <= RULES_BYTES_MAX else "",
            in_force_at_us=SYSTEM_CLOCK.now_us(),
            pushed_by=source.push.pushed_by if source.push else "",
            groupings=self._groupings.names,
        )
        value = version.model_dump_json().encode()
        await outbox.post([Message(CONTROL.name, 0, value, control_key(version))])

    async def _follow_rules(self, windows: WindowsAgent, merge: MergeAgent, outbox: Outbox) -> None:
        """Takes new rules; bad ones are told, and the old ones kept."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_at_rules.wait(), _RULES_S)
            self._look_at_rules.clear()
            rejected = self._source.rejected
            rules = self._look()
            if rules is not None:
                await self._tell_rules(outbox)
                windows.watch(rules)
                merge.use(rules)
            if rules is not None or rejected != self._source.rejected:
                await self._report(outbox)

    def _look(self) -> Rules | None:
        """Returns the rules in force, if they are other ones now; says so, or what is wrong."""
        rejected = self._source.rejected
        rules = self._source.look()
        if rejected != self._source.rejected:
            self._log.error(
                "rules_rejected",
                reason=self._source.refused,
                rejected=self._source.rejected,
                rules_hash=self._source.rules.hash,
            )
        if rules is not None:
            self._log.info(
                "rules_changed",
                rules=len(rules.all),
                rules_hash=rules.hash,
                source="pushed" if self._source.push else "file",
            )
        return rules

    def _hear(self, key: bytes, value: bytes | None) -> None:
        if (tombstone := read_tombstone(key, value)) is not None:
            self._erasures.add(tombstone)
            self._look_at_erasures.set()
        said = read_rules(key, value)
        if isinstance(said, RulesPush):
            self._source.take(said)
            self._look_at_rules.set()

    async def _follow_erasures(
        self, windows: WindowsAgent, merge: MergeAgent, outbox: Outbox
    ) -> None:
        """Has the agents let go of those who were erased, and says when that is done."""
        while True:
            await self._look_at_erasures.wait()
            self._look_at_erasures.clear()
            erasures = len(self._erasures)
            if not erasures:
                continue
            agents: tuple[tuple[Literal["windows", "merge"], list[int]], ...] = (
                ("windows", await windows.erase(self._erasures)),
                ("merge", await merge.erase(self._erasures)),
            )
            now_us = SYSTEM_CLOCK.now_us()
            applied = [
                ErasuresApplied(
                    agent=agent, partition=each, erasures=erasures, applied_at_us=now_us
                )
                for agent, partitions in agents
                for each in partitions
            ]
            await outbox.post(
                Message(CONTROL.name, 0, each.model_dump_json().encode(), control_key(each))
                for each in applied
            )
            self._log.info("erasures_applied", erasures=erasures, partitions=len(applied))

    async def _follow_control(self, control: ControlLog) -> None:
        """Hears what is pushed, for ever."""
        while True:
            try:
                await control.read()
            except KafkaError as error:
                self._log.warning("control_not_read", why=type(error).__name__)
                await asyncio.sleep(_RETRY_S)

    async def _follow_agents(self, outbox: Outbox) -> None:
        for number in count():
            await self._report(outbox)
            if number % _REPORTS_PER_LOG == 0 and number:
                self._tell_agents()
            await asyncio.sleep(REPORT_S)

    async def _report(self, outbox: Outbox) -> None:
        """Publishes how the agents are, for ClickHouse."""
        process, now_us = process_name(self._settings.slot), SYSTEM_CLOCK.now_us()
        sealed = [seal_report(each.report(process, now_us)) for each in self._states()]
        await outbox.post(
            Message(METRICS.name, 0, each.value, headers=each.headers) for each in sealed
        )

    def _tell_agents(self) -> None:
        for each in self._agents:
            self._log.info("agent_counted", **each.state().facts())


def _counts(found: dict[str, int]) -> tuple[int, int]:
    """Returns the partitions of events and of partials.

    Raises:
        WorkerError: topics that go together have different numbers of partitions.
    """
    for topics in (SOURCES, MERGES):
        if len({found[topic] for topic in topics}) > 1:
            told = ", ".join(f"{topic} {found[topic]}" for topic in topics)
            raise WorkerError(f"these topics need the same number of partitions: {told}")
    return found[EVENTS.name], found[PARTIALS.name]


def _access(kafka: str) -> tuple[KafkaSecurity, dict[str, Any]]:
    """Returns how to connect, for Faust and for aiokafka.

    Raises:
        WorkerError: the settings of the connection do not fit together.
    """
    try:
        security = KafkaSecurity.from_env()
        return security, {"bootstrap_servers": kafka, **security.aiokafka()}
    except ValueError as error:  # backchannel's SettingsError: its message holds no secret
        raise WorkerError(f"settings of the Kafka connection: {error}") from None


async def _vital(work: Awaitable[None]) -> None:
    """Does work without which a worker cannot go on."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 -- the edge of the process: told, and it ends
        _end(error)


def _end(error: BaseException) -> None:
    """Ends the process at once, before anything else is written or committed."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    expected = isinstance(error, WorkerError | KafkaError | TimeoutError | OSError)
    cause = f" ({error.__cause__!r})" if error.__cause__ else ""
    structlog.get_logger().error(
        "worker_failed",
        reason=f"{error or type(error).__name__}{cause}" if expected else type(error).__name__,
        exc_info=None if expected else error,
    )
    end_process(1)
