"""Exceptions as errors that can be counted and grouped, without a bot's data in them."""

import hashlib
import sys
import traceback
from types import TracebackType
from typing import Any

__all__ = ["current_error", "error_fields", "fingerprint"]

_FRAMES_MAX = 40
"""Innermost frames that a stack trace keeps of each exception."""
_STACK_CHARACTERS_MAX = 32_768
_MESSAGE_CHARACTERS_MAX = 4_096


def error_fields(error: BaseException) -> dict[str, Any]:
    """Returns the fields of an ``ErrorEvent``: type, message, stack with its source lines (never
    the values of variables), and a fingerprint that is the same for the same fault."""
    return {
        "exception_type": type(error).__name__[:256],
        "message": _message(error),
        "stacktrace": _stack(error),
        "fingerprint": fingerprint(error),
    }


def current_error() -> BaseException | None:
    """Returns the exception that is being handled."""
    return sys.exception()


def fingerprint(error: BaseException) -> str:
    """Returns 16 hexadecimal digits made of the types and functions on the way to the fault.

    No message and no line number goes in: both change from one occurrence, or release, to the next.
    """
    digest = hashlib.blake2b(digest_size=8)
    for one in _chain(error):
        digest.update(f"{type(one).__module__}.{type(one).__qualname__}\n".encode())
        for frame in _frames(one.__traceback__):
            code = frame.tb_frame.f_code
            module = frame.tb_frame.f_globals.get("__name__", "")
            digest.update(f"{module}:{code.co_qualname}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_MESSAGE_CHARACTERS_MAX]
    except Exception:  # noqa: BLE001  # an exception of the bot's whose text can't be made
        return ""


def _stack(error: BaseException) -> str:
    try:
        lines = traceback.TracebackException.from_exception(
            error, limit=-_FRAMES_MAX, capture_locals=False, compact=True
        ).format()
        # The end says what went wrong, so it is the start that is cut off.
        return "".join(lines)[-_STACK_CHARACTERS_MAX:]
    except Exception:  # noqa: BLE001  # as above
        return ""


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and what caused it, ten at most."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and all(one is not seen for seen in found) and len(found) < 10:
        found.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found


def _frames(stack: TracebackType | None) -> list[TracebackType]:
    found: list[TracebackType] = []
    while stack is not None:
        found.append(stack)
        stack = stack.tb_next
    return found[-_FRAMES_MAX:]
