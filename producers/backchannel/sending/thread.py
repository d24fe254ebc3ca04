"""The thread that the sender lives in, with an event loop of its own.

A thread, because the bot's loop may be blocked by the bot, and because a bot without a loop uses
the same code. It is a daemon: it never keeps an interpreter from ending.
"""

import asyncio
import concurrent.futures
import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from backchannel.clock import Clock
from backchannel.sending.drop_watch import DropWatch
from backchannel.sending.heartbeat import Heartbeat
from backchannel.sending.intake import Intake
from backchannel.sending.selector import GivingWay
from backchannel.sending.sender import Sender
from backchannel.sending.transport import Transport
from backchannel.settings import ProducerSettings

__all__ = ["SenderThread"]

_log = logging.getLogger("backchannel")

_FLUSH_SHARE = 0.9
"""How much of the time for closing goes to what is still held; the rest ends the connection."""
_TELL_S = 0.2
"""How long the end waits for the bot's ``on_drop``."""


class SenderThread:
    """Runs a sender from the first call until it is closed.

    Its methods may be called from any thread and never block; what takes time answers by a future.
    """

    def __init__(
        self,
        intake: Intake,
        transport: Transport,
        heartbeat: Heartbeat,
        drops: DropWatch | None,
        settings: ProducerSettings,
        clock: Clock,
        content: tuple[Intake, Transport] | None = None,
    ) -> None:
        self._intake = intake
        self._transport = transport
        self._heartbeat = heartbeat
        self._drops = drops
        self._settings = settings
        self._clock = clock
        self._content = content
        self._lock = threading.RLock()
        self._loop: _Loop | None = None
        self._sender: Senders | None = None
        self._thread: threading.Thread | None = None
        self._closing: asyncio.Future[float] | None = None
        self._closing_begun = False
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()

    @property
    def started(self) -> bool:
        """Whether there is or was a thread."""
        return self._loop is not None

    @property
    def is_current(self) -> bool:
        """Whether the caller is in it: a function of the bot's that the sender asks."""
        return self._thread is threading.current_thread()

    def leave_to_parent(self) -> None:
        """Closes the files of the disk in a forked child, so that the locks on them last as long as
        the parent and no longer. Everything else of the parent's is left alone."""
        if self._sender is not None:
            self._sender.close()

    def start(self) -> None:
        """Starts the thread, once.

        Raises:
            RuntimeError: no thread can be started, since the interpreter is on its way out.
        """
        with self._lock:
            if self._loop is not None:
                return
            # Loop and sender are there before the thread is, so that nobody has to wait for it.
            loop = _Loop()
            senders = [Sender(self._intake, self._transport, self._settings, self._clock)]
            if self._content is not None:
                # Prompts and replies never touch the disk of the bot's machine.
                in_memory = replace(self._settings, on_full="drop_newest")
                senders.append(Sender(*self._content, in_memory, self._clock))
            sender = Senders(senders)
            closing = loop.create_future()
            thread = threading.Thread(
                target=self._run, args=(loop, sender, closing), name="backchannel", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                loop.close()
                raise
            self._loop, self._sender, self._closing = loop, sender, closing
            self._thread = thread

    def wake(self) -> None:
        """Tells the sender that there is something to do; starts the thread at the first call.

        Raises:
            RuntimeError: the thread has ended, or cannot be started.
        """
        self.start()
        assert self._loop is not None
        assert self._sender is not None
        self._loop.call_soon_threadsafe(self._sender.wake)

    def flush(self, timeout_s: float) -> "concurrent.futures.Future[int]":
        """Flushes the sender; the answer is how many events are not acknowledged.

        Raises:
            RuntimeError: the thread ends or has ended, or cannot be started.
        """
        self.start()
        with self._lock:
            assert self._loop is not None
            assert self._sender is not None
            if self._closing_begun:
                raise RuntimeError("closing flushes by itself")
            return asyncio.run_coroutine_threadsafe(self._sender.flush(timeout_s), self._loop)

    def close(self, timeout_s: float) -> "concurrent.futures.Future[None]":
        """Ends the thread within that time; the answer comes when it has ended. May be repeated.

        It must have been started.
        """
        with self._lock:
            if not self._closing_begun:
                self._closing_begun = True
                assert self._loop is not None
                assert self._closing is not None
                with suppress(RuntimeError):  # the loop is closed already
                    self._loop.call_soon_threadsafe(self._closing.set_result, timeout_s)
        return self._ended

    def _run(self, loop: "_Loop", sender: "Senders", closing: "asyncio.Future[float]") -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                loop.set_exception_handler(_on_loop_error)
                runner.run(self._send_until_closed(sender, closing))
        finally:
            sender.close()
            self._intake.abandon()
            if self._content is not None:
                self._content[0].abandon()
            if self._drops is not None:
                self._drops.tell(_TELL_S)
            self._ended.set_result(None)

    async def _send_until_closed(self, sender: "Senders", closing: "asyncio.Future[float]") -> None:
        work = [asyncio.ensure_future(sender.run())]
        interval_s = self._settings.health_interval_s
        if interval_s:
            work.append(asyncio.ensure_future(self._heartbeat.run(interval_s)))
        if self._drops is not None:
            work.append(asyncio.ensure_future(self._drops.run()))
        timeout_s = _FLUSH_SHARE * await closing
        if interval_s:
            # Half of the time for the bot's events, so that the last counts are right where Kafka
            # is there. Where it is slow the last Health goes in anyway: it says what is missing.
            await sender.flush(timeout_s := timeout_s / 2)
            self._heartbeat.end()
        await sender.flush(timeout_s)
        sender.spill_rest()
        for task in work:
            task.cancel()
        await asyncio.wait(work)
        await sender.disconnect()


class Senders:
    """The sender of the events and, where content is captured, that of the content."""

    def __init__(self, senders: Sequence[Sender]) -> None:
        self._senders = senders

    def wake(self) -> None:
        """There is something to do. Only from the senders' own loop."""
        for sender in self._senders:
            sender.wake()

    async def run(self) -> None:
        """Does the work of all of them. Ends only by cancellation."""
        await asyncio.gather(*(sender.run() for sender in self._senders))

    async def flush(self, timeout_s: float) -> int:
        """Flushes all of them; returns how many events and texts are not acknowledged."""
        return sum(await asyncio.gather(*(sender.flush(timeout_s) for sender in self._senders)))

    async def disconnect(self) -> None:
        """Closes their connections."""
        for sender in self._senders:
            await sender.disconnect()

    def spill_rest(self) -> None:
        """Writes what is held to disk, where there is one for it."""
        for sender in self._senders:
            sender.spill_rest()

    def close(self) -> None:
        """Lets go of the disk."""
        for sender in self._senders:
            sender.close()


class _Loop(asyncio.SelectorEventLoop):
    """Gives way to the bot's threads, and looks addresses up in daemon threads.

    asyncio's own way goes through a thread pool, which the end of the interpreter waits for (20 s
    with a resolver that does not answer) and which takes nothing new by then.
    """

    def __init__(self) -> None:
        super().__init__(GivingWay())

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        answer: asyncio.Future[Any] = self.create_future()

        def tell(found: Any, error: OSError | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        def look_up() -> None:
            found, failure = None, None
            try:
                found = socket.getaddrinfo(*args, **kwargs)
            except OSError as error:
                failure = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.call_soon_threadsafe(tell, found, failure)

        try:
            threading.Thread(target=look_up, name="backchannel-dns", daemon=True).start()
        except RuntimeError:  # no thread can be started any more: a script that forgot close()
            return socket.getaddrinfo(*args, **kwargs)
        return await answer


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Futures of a connection that was cut off, which nobody waits for any more."""
    _log.debug("left over in the sender's loop: %s", type(context.get("exception")).__name__)
