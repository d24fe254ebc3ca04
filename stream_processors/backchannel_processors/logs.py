"""Logs of a worker: one event a line, for people on a terminal and JSON everywhere else."""

import logging
import sys

import structlog

from backchannel.clock import SYSTEM_CLOCK, Clock

__all__ = ["configure_logs"]

_AGAIN_US = 30_000_000


def configure_logs() -> None:
    """Sets up structlog, and lets Faust and aiokafka tell warnings through it.

    Faust names its services after the module that defines their class: one is ours.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    output = logging.StreamHandler(sys.stderr)
    output.addFilter(_NotAgain(SYSTEM_CLOCK))
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(logging.INFO)
    for name in ("faust", "mode", "aiokafka", "asyncio", "backchannel_processors.faust_app"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _NotAgain(logging.Filter):
    """Lets the same warning of a library through once in a while: without Kafka, aiokafka says so
    ten times a second."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._told_us: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Says whether to let it through."""
        if not record.name.startswith(("aiokafka", "faust", "mode")):
            return True
        where = (record.pathname, record.lineno)  # bounded by the code there is
        now_us = self._clock.monotonic_us()
        told_us = self._told_us.get(where)
        if told_us is not None and now_us - told_us < _AGAIN_US:
            return False
        self._told_us[where] = now_us
        return True
