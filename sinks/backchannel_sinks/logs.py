"""How the roles of this package log: lines of JSON, or for a person where one looks on."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Protocol

import structlog

__all__ = ["Counts", "configure_logs", "log_progress"]

_PROGRESS_S = 60.0


class Counts(Protocol):
    """What a role did, in numbers."""

    def facts(self) -> Mapping[str, object]:
        """Returns all of them."""
        ...


def configure_logs() -> None:
    """Logs as lines of JSON, or for a person where one looks on. Level: ``BACKCHANNEL_LOG``."""
    # These log an error at each attempt (apprise with parts of an address); what it comes to is
    # told by us, once.
    for library in ("aiokafka", "apprise"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    level = os.environ.get("BACKCHANNEL_LOG", "info").lower()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(
            {"debug": 10, "info": 20, "warning": 30, "error": 40}.get(level, 20)
        ),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer()
            if sys.stderr.isatty()
            else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def log_progress(log: Any, event: str, counts: Counts) -> None:
    """Logs the counts once a minute, when they have changed. For ever."""
    before = counts.facts()
    while True:
        await asyncio.sleep(_PROGRESS_S)
        now = counts.facts()
        if now != before:
            log.info(event, **now)
            before = now
