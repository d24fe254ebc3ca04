"""Log records as ``ErrorEvent``s: a ``logging.Handler``."""

import hashlib
import logging
import threading

from backchannel.failures import error_fields
from backchannel.recorder import Recorder

__all__ = ["BackchannelHandler"]

_OWN_LOGGERS = ("backchannel", "aiokafka", "kafka")
"""Who has a word to say while events are sent: an event of it would bring the next one."""
_MESSAGE_CHARACTERS_MAX = 4_096
_UNREADABLE = "a log record whose text could not be made"


class BackchannelHandler(logging.Handler):
    """Turns records of ``WARNING`` and above, or of another level, into ``ErrorEvent``s.

    The logger's name is the ``component``; an exception brings its type, stack and fingerprint,
    any other record is grouped by its text before the arguments are put in. Inside a turn the event
    belongs to it. Free text is masked, as on every way in.

    Records of backchannel itself and of its Kafka client are left out, and so is whatever is
    logged while a record is being told. Never blocks, never raises, prints nothing.
    """

    def __init__(self, producer: Recorder, level: int | str = logging.WARNING) -> None:
        super().__init__(level)
        self._producer = producer
        self._telling = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] in _OWN_LOGGERS or getattr(self._telling, "now", False):
            return
        self._telling.now = True
        try:
            self._tell(record)
        except Exception:  # noqa: BLE001  # a record whose text can't be made: the bot goes on
            self._producer.capture_message(_UNREADABLE, _level(record.levelno))
        finally:
            self._telling.now = False

    def _tell(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        fields = error_fields(error) if error is not None else {}
        fields.setdefault("fingerprint", _fingerprint(record))
        fields.pop("message", None)
        self._producer.capture_message(
            record.getMessage()[:_MESSAGE_CHARACTERS_MAX],
            _level(record.levelno),
            component=record.name[:256],
            attributes={"file": record.pathname[-256:], "line": str(record.lineno)},
            **fields,
        )


def _level(number: int) -> str:
    for least, name in (
        (logging.CRITICAL, "fatal"),
        (logging.ERROR, "error"),
        (logging.WARNING, "warning"),
        (logging.INFO, "info"),
    ):
        if number >= least:
            return name
    return "debug"


def _fingerprint(record: logging.LogRecord) -> str:
    template = f"{record.name}\n{record.msg}"
    return hashlib.blake2b(template.encode("utf-8", "replace"), digest_size=8).hexdigest()
