"""Keeps the Kafka client's log lines of our own thread out of the bot's log."""

import logging
import threading

__all__ = ["QuietClient"]

_LOGGERS = tuple(
    logging.getLogger(name)
    for name in (
        "aiokafka",
        "aiokafka.client",
        "aiokafka.cluster",
        "aiokafka.conn",
        "aiokafka.producer.message_accumulator",
        "aiokafka.producer.producer",
        "aiokafka.producer.sender",
    )
)


class QuietClient(logging.Filter):
    """Drops what aiokafka logs in the thread that calls ``begin``, until ``end``.

    The client logs an error at each try to connect, several a second while a broker is away; what
    a bot's log needs is one line at the start and one at the end, which the sender writes. At
    DEBUG the client would even log events. Clients of the bot's own run in other threads: their
    lines, levels and handlers stay as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cause = ""
        """The kind of the newest error in a dropped line: the client tells its callers less."""
        self._thread_id: int | None = None

    def begin(self) -> None:
        """Drops the lines of the calling thread from now on."""
        self.cause = ""
        self._thread_id = threading.get_ident()
        for logger in _LOGGERS:
            logger.addFilter(self)

    def end(self) -> None:
        """Drops nothing any more."""
        for logger in _LOGGERS:
            logger.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread_id:
            return True
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, Exception):
                self.cause = type(argument).__name__
        return False
