"""Tells the bot what was dropped, where that can neither hold up the bot nor the sender."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable

from backchannel.sending.intake import Intake
from backchannel.sending.stats import DropReason

__all__ = ["DropWatch", "OnDrop"]

_log = logging.getLogger("backchannel")

OnDrop = Callable[[DropReason, int], object]
"""Called with a reason and how many events were dropped for it since the last call."""

_EVERY_S = 1.0


class DropWatch:
    """Looks at the counts once a second and calls ``on_drop`` for each reason that has grown.

    The call is made in a short-lived daemon thread of its own, one at a time: whatever it does, it
    holds up nobody, and what is dropped while it takes its time is told by the next one.
    """

    def __init__(self, intake: Intake, on_drop: OnDrop) -> None:
        self._intake = intake
        self._on_drop = on_drop
        self._told: Counter[DropReason] = Counter()
        self._thread: threading.Thread | None = None
        self._failed = False

    async def run(self) -> None:
        """Watches until it is cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            self.tell()

    def tell(self, wait_s: float = 0.0) -> None:
        """Tells what is new, unless the last call is still under way, and waits for it so long."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(wait_s)
            if self._thread.is_alive():
                return
        dropped = Counter(self._intake.stats().dropped)
        new = dropped - self._told
        if not new:
            return
        thread = threading.Thread(
            target=self._call, args=(new,), name="backchannel-on-drop", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the interpreter is on its way out
            return
        self._told, self._thread = dropped, thread
        if wait_s:
            thread.join(wait_s)

    def _call(self, new: "Counter[DropReason]") -> None:
        for reason, count in new.items():
            try:
                self._on_drop(reason, count)
            except Exception as error:  # noqa: BLE001  # the bot's own code
                if not self._failed:
                    self._failed = True
                    _log.error("on_drop failed: %s", type(error).__name__)
