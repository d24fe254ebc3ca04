"""The producer: what a bot embeds. Events go in within microseconds and come out in Kafka.

What sends, and asyncio with it, is loaded when a producer is made, not with this module: a sixth of
what `import backchannel` would take, which whatever only names the SDK's types need not pay.
"""

import atexit
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel.errors import SettingsError
from backchannel.events import new_event_id
from backchannel.events.topics import CONTENT, EVENTS
from backchannel.forks import (
    at_end_of_child,
    keep_inherited,
    restart_in_children,
    whole_import,
)
from backchannel.outlet import Outlet
from backchannel.prices import PriceBook, own_rates
from backchannel.recorder import Recorder
from backchannel.request import Request
from backchannel.sending.intake import Intake
from backchannel.sending.memory import MemoryTransport
from backchannel.sending.stats import ProducerStats
from backchannel.sending.transport import Transport
from backchannel.settings import (
    NO_ADDRESS,
    ProducerSettings,
    SettingsArguments,
    privacy_of,
    sampling_of,
)
from backchannel.shaping.privacy import Privacy
from backchannel.shaping.stamps import Stamps
from backchannel.sigterm import chain_sigterm
from backchannel.stand_in import stand_in

if TYPE_CHECKING:
    import concurrent.futures

    from typing_extensions import TypeIs

    from backchannel.alert_cache import AlertCache
    from backchannel.alert_feed import AlertFeed
    from backchannel.events import BudgetState
    from backchannel.integrations.prometheus import MetricsApp
    from backchannel.integrations.tally import Tally
    from backchannel.sending.content import ContentIntake
    from backchannel.sending.drop_watch import OnDrop
    from backchannel.sending.heartbeat import HealthSource
    from backchannel.sending.kafka import KafkaTransport
    from backchannel.sending.thread import SenderThread

__all__ = ["BoundProducer", "Producer"]

_log = logging.getLogger("backchannel")

_EXIT_TIMEOUT_S = 2.0
"""How long the end of the interpreter may wait for a producer that nobody closed."""
_GRACE_S = 0.25
"""How long past its time-out an answer of the sender's thread is waited for."""


class Producer(Recorder):
    """Publishes events to Kafka without ever blocking or breaking the bot.

    ``kafka`` is ``host:port``, several with commas between; it and all settings may also come from
    the environment (see ``ProducerSettings``). Open one when the bot starts and close it when the
    bot stops: with ``async with`` or ``close``, or where there is no event loop (Flask, Django,
    Celery) with ``with`` or ``close_sync``.

    All the ways in are safe in any thread and task, before the broker is there and while it is
    gone. What can't be sent is counted in ``stats()``, by reason, and told to
    ``on_drop(reason, count)``: once it has started, at most once a second, in a thread of its own,
    and a last time when it ends.

    ``prices`` are your own, by model: ``{"my-model": {"input": 0.15, "output": 0.6}}`` in dollars a
    million tokens; they win over the table of the extra ``prices``.

    Raises:
        SettingsError: settings cannot be used; it tells every mistake at once. Nothing else here
            ever raises into the bot.
    """

    def __init__(
        self,
        kafka: str | None = None,
        *,
        transport: Transport | None = None,
        content_transport: Transport | None = None,
        clock: Clock = SYSTEM_CLOCK,
        on_drop: "OnDrop | None" = None,
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Unpack[SettingsArguments],
    ) -> None:
        from backchannel.vitals import Vitals

        standing_in = stand_in() if transport is None else None
        if kafka is None and (transport is not None or standing_in is not None):
            kafka = NO_ADDRESS  # somebody else's transport needs no address of ours
        if standing_in is not None:
            settings.setdefault("health_interval_s", 0)
            clock = standing_in.clock if clock is SYSTEM_CLOCK else clock
        self.settings: ProducerSettings = ProducerSettings.load(kafka, arguments=settings)
        own, mistakes = own_rates(prices or {})
        if mistakes:
            raise SettingsError(mistakes)
        self._clock = clock
        self._closed = False
        self._alerts: AlertCache | None = None
        self._alert_feed: AlertFeed | None = None
        self._tally: Tally | None = None
        privacy = privacy_of(self.settings)
        self._intake = Intake(
            new_event_id(),
            self.settings.buffer_bytes_max,
            privacy=privacy,
            sampling=sampling_of(self.settings),
            disabled=self.settings.disabled,
            displace=self.settings.on_full == "drop_oldest",
        )
        self._on_drop = on_drop
        self._stamps, _ = Stamps.none(privacy).bind(_stamped(self.settings))
        super().__init__(Outlet(self._intake, self._stamps, clock, PriceBook(own)))
        PriceBook.make_way()
        self.health: Vitals = Vitals(self._outlet)
        """The gauges of ``Health`` events; takes queues and measures of your own."""
        self.health_sources: list[HealthSource] = [self.health]
        """What else each ``Health`` event says: append a function that returns its fields."""
        if standing_in is not None:
            transport = standing_in.admit(self)
        wants_content = self.settings.capture_content and not self.settings.disabled
        if wants_content and content_transport is None and transport is not None:
            if standing_in is None:
                raise SettingsError(["capture_content needs a content_transport beside transport"])
            content_transport = MemoryTransport()
        self._content = self._capture(content_transport, privacy) if wants_content else None
        self._transport = transport or self._to_kafka(EVENTS.name)
        self._thread = self._new_thread()
        self._intake.wake = self._wake
        restart_in_children(self)

    def bind(self, **fields: Any) -> "BoundProducer":
        """Returns a view of this producer that stamps more envelope fields on every event,
        e.g. ``tenant_id`` and ``user_id``. An event's own value wins."""
        return BoundProducer(self._outlet.bind(fields))

    def start(self) -> None:
        """Connects in the background. Without it, the first event does."""
        if not self.settings.disabled:
            if self.settings.health_interval_s:
                self.health.watch_loop()
            with suppress(RuntimeError):  # no thread can be started any more: as with an event
                self._wake()

    def load_prices(self) -> bool:
        """Loads the price table and waits for it, a third of a second; returns whether it is there.

        Without it the table (the extra ``prices``) is loaded in the background at the start, and
        calls that end before are ``unpriced``: ClickHouse can price them later.
        """
        return _load(self._outlet.prices)

    async def flush(self, timeout: float = 10.0) -> int:
        """Waits until what is accepted by now is acknowledged, for ``timeout`` seconds at most.

        Returns how many events of it are not.
        """
        lost = self._intake.lost
        flushing = self._begin_flush(timeout)
        if flushing is not None and await _done(flushing, timeout + _GRACE_S):
            return flushing.result()
        return self._not_acked(lost)

    def flush_sync(self, timeout: float = 10.0) -> int:
        """Does what ``flush`` does, for bots without an event loop. Blocks, but for a function of
        ``health_sources``, which would wait for itself."""
        lost = self._intake.lost
        flushing = None if self._thread.is_current else self._begin_flush(timeout)
        if flushing is not None and _done_sync(flushing, timeout + _GRACE_S):
            return flushing.result()
        return self._not_acked(lost)

    async def close(self, timeout: float = 5.0) -> int:
        """Takes nothing any more, delivers what is held, for ``timeout`` seconds at most, and ends.

        Returns how many events were not acknowledged: they are counted as ``unsent``, though some
        may have been stored. What was spilled to disk is not among them: the next process sends it.
        Closing again returns 0.
        """
        lost = self._intake.lost
        closing = self._begin_close(timeout)
        if closing is not None:
            await _done(closing, timeout + _GRACE_S)
        return self._end(lost)

    def close_sync(self, timeout: float = 5.0) -> int:
        """Does what ``close`` does, for bots without an event loop. Blocks, but for a function of
        ``health_sources``, which would wait for itself: then it only begins to close."""
        lost = self._intake.lost
        closing = self._begin_close(timeout)
        if self._thread.is_current:
            return self._not_acked(lost)
        if closing is not None:
            _done_sync(closing, timeout + _GRACE_S)
        return self._end(lost)

    def request(self, timeout: float = 2.0) -> Request:
        """Opens a block at whose end everything tracked so far is flushed, for ``timeout`` seconds
        at most: for functions whose process is frozen when they return, e.g. on AWS Lambda."""
        return Request(self, timeout)

    def flush_on_sigterm(self, timeout: float = 2.0) -> bool:
        """Delivers what is held when SIGTERM comes, for ``timeout`` seconds at most, and then lets
        happen what would have happened. Returns whether it could be installed.

        Only for scripts that end by SIGTERM and have nobody who handles it: servers such as uvicorn
        and gunicorn end in order, and then ``close`` or the interpreter's exit delivers. A function
        that the host has installed is called after the flush, never replaced. Call it in the main
        thread, after the host has installed its own.
        """
        return chain_sigterm(
            before_default=lambda: self.close_sync(timeout),
            before_host=lambda: self.flush_sync(timeout),
        )

    @property
    def alerts(self) -> "AlertCache":
        """Alerts that fire now and budgets as they are spent, from this process's own memory. The
        first use begins to read them, in a thread of its own; ``alerts.current`` says when all
        that stood there has been read."""
        if self._alerts is None:
            # Here and not above: few bots ask, and what it takes to read alerts is slow to import.
            from backchannel.alert_cache import AlertCache

            self._alerts = AlertCache(self._clock)
        if self._alert_feed is None and not self.settings.disabled and not self._closed:
            from backchannel.alert_feed import AlertFeed

            self._alert_feed = AlertFeed(self.settings, self._alerts)
            if _goes_to_kafka(self._transport):
                self._alert_feed.start()
        return self._alerts

    def budget(self, user: str = "", *, rule: str = "", **dims: str) -> "BudgetState | None":
        """Returns how much of a budget is spent: of a user, or of other dimensions, e.g.
        ``tenant="acme"``. Costs no network; ``None`` when no budget of exactly these is known.

        Of several the one with the smallest share left; ``rule`` chooses one.
        """
        if user:
            dims["user"] = self._intake.pseudonym(user)
        return self.alerts.budget(rule, **dims)

    @property
    def closed(self) -> bool:
        """Whether somebody has closed it."""
        return self._closed

    def metrics_app(self) -> "MetricsApp":
        """Returns an ASGI application with ``/metrics`` for Prometheus and ``/metrics/latency`` as
        JSON: what this process has done since the first such call. Needs the extra ``prometheus``.

        Raises:
            SettingsError: the extra is not installed.
        """
        try:
            from backchannel.integrations.prometheus import MetricsApp
            from backchannel.integrations.tally import Tally
        except ImportError as error:
            told = 'metrics_app() needs an extra: pip install "backchannel[prometheus]"'
            raise SettingsError([told]) from error
        if self._tally is None:
            self._tally = Tally()
            self._intake.observe = self._tally.observe
        return MetricsApp(self._tally, self.stats, self._outlet.in_flight.__len__)

    def stats(self) -> ProducerStats:
        """Returns what became of every event, as of now."""
        stats = self._intake.stats()
        return replace(stats, content=self._content.stats()) if self._content else stats

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close_sync()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def restart_in_child(self) -> None:
        """Begins anew in a process that was forked: with an id, a buffer and counts of its own.
        It is called by the fork itself."""
        self._thread.leave_to_parent()
        keep_inherited((self._thread, self._transport))
        self._intake.restart(new_event_id())
        if self._tally is not None:
            self._tally.restart()
        self._outlet.in_flight.clear()
        self.health.restart()
        if _goes_to_kafka(self._transport):
            self._transport = self._transport.for_child()
        if self._content is not None:
            keep_inherited(self._content.transport)
            self._content.intake.restart(self._intake.producer_id)
            if _goes_to_kafka(self._content.transport):
                self._content.transport = self._content.transport.for_child()
        self._thread = self._new_thread()
        # The parent's thread is not in the child, and its cache would stand still.
        self._alerts = self._alert_feed = None

    def _capture(self, transport: Transport | None, privacy: Privacy) -> "ContentIntake":
        from backchannel.sending.content import ContentIntake  # few bots opt in

        content = ContentIntake(
            Intake(self._intake.producer_id, self.settings.content_buffer_bytes_max),
            transport or self._to_kafka(CONTENT.name),
            privacy,
            self.settings.content_chars_max,
        )
        content.intake.wake = self._wake
        self._intake.on_texts = content.offer
        return content

    def _to_kafka(self, topic: str) -> Transport:
        from backchannel.sending.kafka import KafkaTransport

        return KafkaTransport(self.settings, topic)

    def _new_thread(self) -> "SenderThread":
        from backchannel.sending.drop_watch import DropWatch
        from backchannel.sending.heartbeat import Heartbeat
        from backchannel.sending.thread import SenderThread

        heartbeat = Heartbeat(self._intake, self._stamps, self.health_sources, self._clock)
        drops = None if self._on_drop is None else DropWatch(self._intake, self._on_drop)
        return SenderThread(
            self._intake,
            self._transport,
            heartbeat,
            drops,
            self.settings,
            self._clock,
            (self._content.intake, self._content.transport) if self._content else None,
        )

    def _end(self, lost_before: int) -> int:
        """Gives up what is held, and says so; returns how many events were lost since."""
        self._intake.abandon()
        if self._content is not None:
            self._content.intake.abandon()
        lost = self._intake.lost - lost_before
        if lost:
            _log.error("the producer ended before Kafka had acknowledged %d events", lost)
        return lost

    def _wake(self) -> None:
        if not self._thread.started:
            _load_soon(self._outlet.prices)
            atexit.register(self._at_exit)
            at_end_of_child(self._at_exit)
        self._thread.wake()

    def _at_exit(self, **_: object) -> None:
        self.close_sync(_EXIT_TIMEOUT_S)

    def _not_acked(self, lost_before: int) -> int:
        """What a flush returns when the sender's thread does not answer, or is not there."""
        return self._intake.stats().held + self._intake.lost - lost_before

    def _begin_flush(self, timeout: float) -> "concurrent.futures.Future[int] | None":
        if not self._has_sender():
            return None
        try:
            return self._thread.flush(timeout)
        except RuntimeError:  # it ends or has ended
            return None

    def _begin_close(self, timeout: float) -> "concurrent.futures.Future[None] | None":
        self._closed = True
        if self._alert_feed is not None:
            self._alert_feed.stop()
        self.health.stop()
        self._intake.close()
        if self._content is not None:
            self._content.intake.close()
        has_sender = self._has_sender()
        atexit.unregister(self._at_exit)
        return self._thread.close(timeout) if has_sender else None

    def _has_sender(self) -> bool:
        """Whether somebody sends what is held: another thread's first event may be taken in and
        its thread not yet have come to wake the sender."""
        if not self._thread.started and self._intake.holds:
            with suppress(RuntimeError):  # no thread can be started any more
                self._wake()
        return self._thread.started


class BoundProducer(Recorder):
    """A view of a producer that stamps fields of its own; as cheap as the producer itself."""

    def bind(self, **fields: Any) -> "BoundProducer":
        """Returns a view with more fields, over these."""
        return BoundProducer(self._outlet.bind(fields))


def _load(prices: PriceBook) -> bool:
    with whole_import():
        return prices.load()


def _load_soon(prices: PriceBook) -> None:
    """Loads the price table where nobody waits for it: importing it takes a third of a second."""
    if not prices.loaded and prices.available():
        thread = threading.Thread(
            target=_load, args=(prices,), name="backchannel-prices", daemon=True
        )
        with suppress(RuntimeError):  # none can be started any more
            thread.start()


def _stamped(settings: ProducerSettings) -> dict[str, str]:
    fields = {
        "service": settings.service,
        "environment": settings.environment,
        "tenant_id": settings.tenant_id,
    }
    return {name: value for name, value in fields.items() if value}


def _goes_to_kafka(transport: Transport) -> "TypeIs[KafkaTransport]":
    from backchannel.sending.kafka import KafkaTransport

    return isinstance(transport, KafkaTransport)


async def _done(future: "concurrent.futures.Future[Any]", timeout_s: float) -> bool:
    """Waits for the sender's thread without blocking the loop; returns whether it answered."""
    import asyncio

    loop, answered = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the bot's loop may be closed by then
            loop.call_soon_threadsafe(answered.set)

    future.add_done_callback(tell)
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await answered.wait()
    return future.done() and not future.cancelled()


def _done_sync(future: "concurrent.futures.Future[Any]", timeout_s: float) -> bool:
    """Waits for the sender's thread; returns whether it answered."""
    from concurrent.futures import wait

    wait([future], timeout_s)
    return future.done() and not future.cancelled()
