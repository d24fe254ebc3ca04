"""Event ids: UUID version 7, so that ids sort by the time they were made."""

import os
import threading

from backchannel.clock import SYSTEM_CLOCK

__all__ = ["new_event_id"]

_BLOCK = 4_000  # random bytes fetched at once: one system call for 400 ids


class _Randomness(threading.local):
    """Random bytes of this thread, fetched in blocks; a fork throws the parent's block away."""

    def __init__(self) -> None:
        self.block = b""
        self.used = 0
        self.pid = 0


_randomness = _Randomness()


def new_event_id() -> str:
    """Returns a new UUID version 7 (RFC 9562) in canonical text: 48 bits of Unix milliseconds,
    then 74 random bits."""
    source = _randomness
    pid = os.getpid()
    if source.used >= len(source.block) or source.pid != pid:
        source.block = os.urandom(_BLOCK)
        source.used = 0
        source.pid = pid
    start = source.used
    source.used = start + 10
    tail = source.block[start : start + 10].hex()
    ms = f"{SYSTEM_CLOCK.now_us() // 1000:012x}"
    variant = "89ab"[int(tail[3], 16) & 3]
    return f"{ms[:8]}-{ms[8:]}-7{tail[:3]}-{variant}{tail[4:7]}-{tail[7:19]}"
