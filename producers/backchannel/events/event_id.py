"""Event ids: UUID version 7, so that ids sort by the time they were made."""

import os
import struct
import threading
from collections.abc import Iterator

from backchannel.clock import SYSTEM_CLOCK

__all__ = ["new_event_id"]

_DIGITS = 19  # random hexadecimal digits of one id
_BLOCK = _DIGITS * 200  # random bytes fetched at once: one system call for 400 ids
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class _Randomness(threading.local):
    """Random digits of this thread, fetched in blocks."""

    def __init__(self) -> None:
        self.tails: Iterator[tuple[bytes]] = iter(())


_randomness = _Randomness()


def new_event_id() -> str:
    """Returns a new UUID version 7 (RFC 9562) in canonical text: 48 bits of Unix milliseconds,
    then 74 random bits."""
    # One call takes the digits away, so that no signal handler or finalizer gets the same.
    taken = next(_randomness.tails, None)
    if taken is None:
        _randomness.tails = fresh = _fetched()
        taken = next(fresh)
    tail = taken[0].decode()
    ms = f"{SYSTEM_CLOCK.now_us() // 1000:012x}"
    return f"{ms[:8]}-{ms[8:]}-7{tail[:3]}-{_VARIANT[tail[3]]}{tail[4:7]}-{tail[7:]}"


def _fetched() -> Iterator[tuple[bytes]]:
    return struct.iter_unpack(f"{_DIGITS}s", os.urandom(_BLOCK).hex().encode())


def _forget() -> None:
    """Throws away the digits that a child would share with its parent."""
    _randomness.tails = iter(())


# Only the thread that forks lives on in the child, so its digits are all that there are.
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_forget)
