"""How a role of the sinks ends when it is asked to."""

import asyncio
import os
import signal

import structlog

__all__ = ["STOP_S", "stop_when_asked"]

STOP_S = 8.0
"""How long it may take. What was not done by then is done by the next one: each role may be killed
at any moment."""

log = structlog.get_logger()


def stop_when_asked(stop: asyncio.Event) -> None:
    """Sets ``stop`` on SIGTERM and SIGINT, and ends the process with exit code 1 where a Kafka that
    says nothing would be waited for: that is so in more places than can be cancelled."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        stop.set()
        loop.call_later(STOP_S, _end)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)


def _end() -> None:
    log.error("not_stopped_in_time", waited_s=STOP_S)
    os._exit(1)
