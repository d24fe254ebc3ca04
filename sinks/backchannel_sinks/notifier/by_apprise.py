"""Delivers messages by apprise: Slack, PagerDuty, e-mail and a hundred more."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apprise
from apprise.common import OverflowMode

from backchannel_sinks.notifier.errors import DeliveryError, PlanError
from backchannel_sinks.notifier.message import Message

__all__ = ["TIMEOUT_S", "ByApprise"]

TIMEOUT_S = 60.0
"""For one attempt; apprise's own time-outs for a connection and an answer are 4 s each."""

_TYPES = {
    "info": apprise.NotifyType.INFO,
    "warning": apprise.NotifyType.WARNING,
    "error": apprise.NotifyType.FAILURE,
    "critical": apprise.NotifyType.FAILURE,
}


class ByApprise:
    """One apprise URL. What it leads to is told in a thread of its own: apprise blocks."""

    def __init__(self, name: str, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Reads the URL.

        Raises:
            PlanError: apprise does not know it. The message does not hold it.
        """
        # It logs parts of addresses, and at DEBUG what it sends.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        asset = apprise.AppriseAsset(
            app_id="backchannel", app_desc="backchannel", http_redirects=False
        )
        self._plugin: Any = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if self._plugin is None:
            raise PlanError(f"target {name}: apprise: not a URL that apprise knows")
        self._plugin.overflow_mode = OverflowMode.TRUNCATE
        if self._plugin.request_rate_per_sec == apprise.NotifyBase.request_rate_per_sec:
            # Not what the service asks for, but what apprise waits where it knows nothing: 5.5 s.
            # ``per_minute_max`` is the limit here.
            self._plugin.request_rate_per_sec = 0
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"notify-{name}")

    async def send(self, message: Message) -> None:
        """Makes one attempt.

        Raises:
            DeliveryError: it was not taken, or it is not known whether it was.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                taken = await loop.run_in_executor(self._thread, self._tell, message)
        except TimeoutError:
            raise DeliveryError(f"no answer within {self._timeout_s:g} s") from None
        except Exception as error:  # noqa: BLE001 -- a hundred plugins: whatever one of them raises
            raise DeliveryError(f"apprise failed ({type(error).__name__})") from None
        if not taken:
            raise DeliveryError("apprise could not deliver it")

    def _tell(self, message: Message) -> bool:
        if "dedup" in self._plugin.template_args:
            # PagerDuty: one incident a thread, which the end of the alerts resolves.
            self._plugin.dedup = message.thread
            self._plugin.action = "map"
        resolved = message.status == "resolved"
        return bool(
            self._plugin.notify(
                title=message.title,
                body=message.text,
                notify_type=apprise.NotifyType.SUCCESS if resolved else _TYPES[message.severity],
                body_format=apprise.NotifyFormat.TEXT,
            )
        )
