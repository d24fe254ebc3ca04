"""The notifier as a process: tell, watch the workers, go on until told to stop."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

import structlog
from aiokafka.errors import KafkaError

from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel.events import Alert
from backchannel.probes.agent import REPORT_S, AgentState, process_name
from backchannel.security import KafkaSecurity
from backchannel_sinks.logs import configure_logs, log_progress
from backchannel_sinks.notifier.counters import Counters
from backchannel_sinks.notifier.dispatch import Dispatch
from backchannel_sinks.notifier.errors import PlanError, TopicsMissingError
from backchannel_sinks.notifier.message import Origin
from backchannel_sinks.notifier.notifier_kafka import Term, follow_control
from backchannel_sinks.notifier.outlet import Outlet, Sender
from backchannel_sinks.notifier.outlets import Outlets
from backchannel_sinks.notifier.pipeline_kafka import KafkaProbe, Outbox
from backchannel_sinks.notifier.pipeline_watch import (
    PIPELINE_DOWN,
    PipelineWatch,
    pipeline_alert,
)
from backchannel_sinks.notifier.plan import Plan, Target
from backchannel_sinks.notifier.plan_file import PlanFile, Senders
from backchannel_sinks.notifier.settings import NotifierSettings
from backchannel_sinks.notifier.webhook import Webhook
from backchannel_sinks.stopping import stop_when_asked

__all__ = ["notifier_main", "plan_senders", "run_notifier"]

_WAIT_S = 1.0
_STOP_GRACE_S = 5.0
_LOOK_S = 2.0
"""How often its file is looked at."""
_PROBES = 12
"""How often the workers are looked for until ``pipeline_down`` is raised."""
_WORKERS = "backchannel-processors"
_HERE = Origin(partition=0, offset=-1)

log = structlog.get_logger("backchannel.notifier")


def notifier_main(settings: NotifierSettings) -> NoReturn:
    """Runs the notifier as a process, until SIGTERM or Ctrl-C, and ends the process.

    Raises:
        PlanError: the file is wrong, or apprise does not know a target.
        SettingsError: the settings of the Kafka connection are wrong.
    """
    configure_logs()
    asyncio.run(_main(settings))
    sys.stderr.flush()
    # Not sys.exit: a delivery that hangs has a thread, and that would be waited for.
    os._exit(0)


async def run_notifier(
    settings: NotifierSettings,
    stop: asyncio.Event,
    clock: Clock = SYSTEM_CLOCK,
    *,
    senders: Senders | None = None,
    look: asyncio.Event | None = None,
) -> None:
    """Tells the targets of its file what is on ``chat.alerts``, until ``stop`` is set.

    The file is followed; ``look`` has it looked at at once.

    Waits for Kafka as long as it takes. While it is away, what is under way is tried again all the
    same, and ``pipeline_down`` is told.
    """
    options = {"bootstrap_servers": settings.kafka, **KafkaSecurity.from_env().aiokafka()}
    counters = Counters()
    path = settings.notifier_file
    if path is None:
        raise PlanError("nobody to tell: name a file in BACKCHANNEL_NOTIFIER_FILE")
    plan = PlanFile(path, senders or plan_senders)
    notifier = _Notifier(settings, plan, options, counters, clock, look or asyncio.Event())
    if settings.notifier_port is None:
        await _run(notifier, counters, stop)
        return
    # Imported late: a notifier that nobody asks needs no client of Prometheus.
    from backchannel.probes.agent_metrics import agent_metrics
    from backchannel.probes.server import ProbeServer

    probes = ProbeServer(
        settings.probe_host,
        settings.notifier_port,
        dead=lambda: "",
        unready=notifier.unready,
        collect=lambda: agent_metrics([notifier.state()]),
    )
    await probes.start()
    try:
        await _run(notifier, counters, stop)
    finally:
        await probes.stop()


async def _run(notifier: "_Notifier", counters: Counters, stop: asyncio.Event) -> None:
    tasks = [
        asyncio.ensure_future(each)
        for each in (
            *notifier.for_ever(),
            log_progress(log, "notifier_progressed", counters),
        )
    ]
    following = asyncio.ensure_future(notifier.follow(stop))
    stopping = asyncio.ensure_future(stop.wait())
    tasks += [following, stopping]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stopping in done:
            # Time to write what is not written yet; a Kafka that is away is not waited for.
            done, _ = await asyncio.wait([following], timeout=_STOP_GRACE_S)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await notifier.close()
        log.info("notifier_stopped", **counters.facts())


class _Notifier:
    """The parts of a notifier, and the tasks that they are."""

    def __init__(
        self,
        settings: NotifierSettings,
        plan: PlanFile,
        options: dict[str, Any],
        counters: Counters,
        clock: Clock,
        look: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._look = look
        self._options = options
        self._clock = clock
        self._counters = counters
        self._dispatch = Dispatch(plan.plan, counters)
        self._outbox = Outbox(options)
        self._probe = KafkaProbe(options, _WORKERS)
        self._watch = PipelineWatch(
            round(settings.pipeline_down_s * 1_000_000), clock.now_us(), clock.monotonic_us()
        )
        self._heard = asyncio.Event()
        self._term: Term | None = None
        self._waits_for = "starting"
        self._outlets = Outlets(
            lambda name, sender, per_minute_max: Outlet(
                name,
                sender,
                per_minute_max,
                self._dispatch,
                self._outbox,
                clock,
                self._write_soon,
            )
        )
        self._outlets.use(plan.plan, plan.senders)

    def unready(self) -> str:
        """Says what it waits for; nothing when it delivers or stands by."""
        return "" if self._term is not None and self._term.is_in_group else self._waits_for

    def state(self) -> AgentState:
        """Returns what it did, as every role tells it."""
        facts = self._counters.facts()
        skipped = {name: facts.pop(name) for name in ("repeated", "unrouted", "unreadable")}
        return AgentState(
            agent="notifier",
            received=facts.pop("received"),
            processed=facts.pop("routed"),
            skipped=skipped,
            further=facts,
            sizes=self._dispatch.sizes(),
            partitions=self._term.partitions(self._clock.now_us()) if self._term else (),
            configuration=self._plan.version,
            refused=self._plan.refused,
        )

    def for_ever(self) -> list[Any]:
        """Returns what has to run beside `follow`."""
        return [
            self._hear(),
            self._watch_the_workers(),
            self._follow_plan(),
            self._report(),
            self._outlets.run(),
        ]

    async def close(self) -> None:
        """Disconnects."""
        await self._probe.close()
        await self._outbox.close()

    async def follow(self, stop: asyncio.Event) -> None:
        """Follows ``chat.alerts`` until ``stop`` is set, and again when Kafka was away."""
        while not stop.is_set():
            if not await self._has_heard(stop):
                continue
            self._term = Term(
                self._settings,
                self._options,
                self._dispatch,
                self._counters,
                self._clock,
                on_news=self._wake,
            )
            try:
                await self._term.run(stop)
            except (KafkaError, OSError) as error:
                await self._wait_for(error)

    async def _wait_for(self, error: Exception) -> None:
        """Says what is waited for, once, and waits a moment."""
        why = f"Kafka gives no answer ({type(error).__name__})"
        if isinstance(error, TopicsMissingError):
            why = f"{error}: run `backchannel migrate`"
        if why != self._waits_for:
            self._waits_for = why
            log.warning("notifier_waiting", why=why)
        await asyncio.sleep(_WAIT_S)

    async def _has_heard(self, stop: asyncio.Event) -> bool:
        """Waits for the silences: nobody is told of what somebody has silenced."""
        stopping = asyncio.ensure_future(stop.wait())
        hearing = asyncio.ensure_future(self._heard.wait())
        try:
            await asyncio.wait([stopping, hearing], return_when=asyncio.FIRST_COMPLETED)
            return self._heard.is_set()
        finally:
            stopping.cancel()
            hearing.cancel()

    async def _hear(self) -> None:
        while True:
            try:
                await follow_control(self._options, self._dispatch, self._clock, self._heard)
            except (KafkaError, OSError, TopicsMissingError) as error:
                await self._wait_for(error)

    async def _watch_the_workers(self) -> None:
        clock = self._clock
        unpublished: Alert | None = None
        while True:
            vitals = await self._probe.vitals()
            if vitals is not None:
                self._waits_for = "waits for its partitions"
            judgement = self._watch.observe(vitals, clock.now_us(), clock.monotonic_us())
            leads = self._term is not None and self._term.leads
            stands_by = self._term is not None and self._term.is_in_group and not leads
            if unpublished is not None and vitals is not None:
                # Raised while Kafka was away. Whoever leads may have said more by now.
                newer = self._dispatch.transition(PIPELINE_DOWN) > unpublished.transition
                done = leads and (newer or await self._outbox.publish(unpublished))
                if done or stands_by:
                    unpublished = None
            # Who stands by leaves it to who leads, as long as a Kafka can say who that is.
            elif leads or vitals is None:
                firing = self._dispatch.firing(PIPELINE_DOWN)
                alert = pipeline_alert(judgement, firing, clock.now_us())
                if alert is not None:
                    log.warning("pipeline_judged", state=judgement.state, why=judgement.why)
                    self._dispatch.offer(alert, _HERE, clock.now_us())
                    self._wake()
                    unpublished = None if await self._outbox.publish(alert) else alert
            await asyncio.sleep(self._settings.pipeline_down_s / _PROBES)

    async def _follow_plan(self) -> None:
        """Takes up what the file says now; a bad one is told, and the old one kept."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), _LOOK_S)
            self._look.clear()
            try:
                changed = self._plan.look()
            except PlanError as error:
                log.error("plan_rejected", reason=str(error), version=self._plan.version)
                await self._say()
                continue
            if changed:
                self._dispatch.use(self._plan.plan)
                self._outlets.use(self._plan.plan, self._plan.senders)
                self._write_soon()
                log.info(
                    "plan_changed", targets=len(self._plan.senders), version=self._plan.version
                )
                await self._say()

    async def _report(self) -> None:
        """Says how it is, for ever. A Kafka that is away is left for the next time."""
        while True:
            await self._say()
            await asyncio.sleep(REPORT_S)

    async def _say(self) -> None:
        now_us = self._clock.now_us()
        await self._outbox.report(self.state().report(process_name(self._settings.slot), now_us))

    def _wake(self) -> None:
        self._outlets.wake()

    def _write_soon(self) -> None:
        if self._term is not None:
            self._term.write_soon()


def plan_senders(plan: Plan) -> dict[str, Sender]:
    """Returns the way to each target of a plan.

    Raises:
        PlanError: apprise does not know one of them.
    """
    return {name: _sender(name, target) for name, target in plan.target.items()}


def _sender(name: str, target: Target) -> Sender:
    if target.apprise is None:
        return Webhook(target, SYSTEM_CLOCK)
    # Imported late: it is large, and a webhook does without.
    from backchannel_sinks.notifier.by_apprise import ByApprise

    return ByApprise(name, target.apprise.get_secret_value())


async def _main(settings: NotifierSettings) -> None:
    stop, look = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, look.set)
    stop_when_asked(stop)
    await run_notifier(settings, stop, look=look)
