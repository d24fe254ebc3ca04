"""Tells one target what there is to tell, one message after the other, for as long as it runs.

Each target has an outlet of its own, so one that hangs holds up nobody else.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog

from backchannel.clock import Clock
from backchannel_sinks.notifier.dispatch import Dispatch
from backchannel_sinks.notifier.errors import DeliveryError
from backchannel_sinks.notifier.message import Message

__all__ = ["Outlet", "PutAside", "Sender"]

_MINUTE_US = 60_000_000
_WAIT_MAX_S = 5.0

log = structlog.get_logger("backchannel.notifier")


class Sender(Protocol):
    """A way to a target."""

    async def send(self, message: Message) -> None:
        """Makes one attempt; returns when the target has the message.

        Raises:
            DeliveryError: it does not have it, or that is not known.
        """
        ...


class PutAside(Protocol):
    """Where messages go that a target did not take for a day."""

    async def put_aside(self, message: Message, why: str) -> bool:
        """Says whether the message is durable there now."""
        ...


class Outlet:
    """One target."""

    def __init__(
        self,
        name: str,
        sender: Sender,
        per_minute_max: int,
        dispatch: Dispatch,
        dead: PutAside,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self._name = name
        self._sender = sender
        self._dispatch = dispatch
        self._dead = dead
        self._clock = clock
        self._on_change = on_change
        self._sent_us: deque[int] = deque(maxlen=per_minute_max)
        self._news = asyncio.Event()
        self._failing = False

    def use(self, sender: Sender, per_minute_max: int) -> None:
        """Goes on with another way to the target, or another limit."""
        self._sender = sender
        self._sent_us = deque(self._sent_us, maxlen=per_minute_max)

    def wake(self) -> None:
        """There may be something to tell."""
        self._news.set()

    async def run(self) -> None:
        """Tells. For ever."""
        while True:
            self._news.clear()
            # First the limit, then the message: what comes meanwhile is in it.
            wait_us = self._limit_us()
            message = None
            if wait_us <= 0:
                message = self._dispatch.next_message(self._name, self._clock.now_us())
            if message is not None:
                self._on_change()
                await self._tell(message)
                self._on_change()
                continue
            await self._rest(wait_us)

    async def _tell(self, message: Message) -> None:
        self._sent_us.append(self._clock.monotonic_us())
        try:
            await self._sender.send(message)
        except DeliveryError as error:
            await self._failed(message, error)
            return
        self._dispatch.delivered(message, self._clock.now_us())
        if self._failing:
            self._failing = False
            log.info("target_recovered", target=self._name)
        log.debug("message_delivered", target=self._name, message=message.id)

    async def _failed(self, message: Message, error: DeliveryError) -> None:
        if not self._failing:
            self._failing = True
            log.warning("delivery_failed", target=self._name, message=message.id, why=str(error))
        now_us = self._clock.now_us()
        over = self._dispatch.failed(message, now_us, retry_after_s=error.retry_after_s)
        if over and await self._dead.put_aside(message, str(error)):
            self._dispatch.gave_up(message, now_us)
            log.error("message_given_up", target=self._name, message=message.id, why=str(error))

    def _limit_us(self) -> int:
        """Returns how long the target is to be left in peace; 0 and less when it is not."""
        if len(self._sent_us) < (self._sent_us.maxlen or 0):
            return 0
        return self._sent_us[0] + _MINUTE_US - self._clock.monotonic_us()

    async def _rest(self, wait_us: int) -> None:
        if wait_us <= 0:
            due_us = self._dispatch.next_due_us(self._name)
            wait_us = due_us - self._clock.now_us() if due_us is not None else _MINUTE_US
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(wait_us / 1_000_000, 0.001), _WAIT_MAX_S)):
                await self._news.wait()
