"""How a call to a model ended, told from the exception that ended it: the same for every library.

Nothing is imported for it: their exceptions have a status code, or a name that says enough.
"""

import asyncio
import concurrent.futures
from dataclasses import dataclass
from typing import Any

from backchannel.integrations.payload import look

__all__ = ["BLOCKED_REASONS", "Outcome", "outcome"]

BLOCKED_REASONS = frozenset(
    {"content_filter", "content_filtered", "guardrail_intervened", "refusal"}
)
"""Finish reasons of a filter that stopped the answer: the status is ``blocked``."""

_BLOCKED_CODES = frozenset({"content_filter", "content_policy_violation"})
_RATE_LIMITED = 429
_TIMEOUTS = frozenset({408, 504})
_CANCELLED = (
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
)
_STATUS_MIN, _STATUS_MAX = 100, 599


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: never with the exception's message, which may hold a prompt or a key."""

    status: str
    http_status: int | None = None
    error_type: str = ""

    def fields(self) -> dict[str, Any]:
        """Returns them as an event's fields."""
        fields: dict[str, Any] = {"status": self.status}
        if self.http_status is not None:
            fields["http_status"] = self.http_status
        if self.error_type:
            fields["error_type"] = self.error_type
        return fields


def outcome(error: BaseException) -> Outcome:
    """Returns what an exception says of the call. Never raises."""
    if isinstance(error, _CANCELLED):
        return Outcome("cancelled")
    try:
        names = {kind.__name__ for kind in type(error).__mro__}
        http_status = _http_status(error)
        return Outcome(_status(error, names, http_status), http_status, type(error).__name__)
    except Exception:  # noqa: BLE001  # an exception with attributes of its own mind
        return Outcome("error", None, type(error).__name__)


def _status(error: BaseException, names: set[str], http_status: int | None) -> str:
    if http_status == _RATE_LIMITED or "RateLimitError" in names:
        return "rate_limited"
    if http_status in _TIMEOUTS or names & {"TimeoutError", "TimeoutException", "APITimeoutError"}:
        return "timeout"
    code = look(error, "code") or look(error, "body", "code")
    if isinstance(code, str) and code in _BLOCKED_CODES:
        return "blocked"
    return "blocked" if "ContentPolicyViolationError" in names else "error"


def _http_status(error: BaseException) -> int | None:
    for found in (look(error, "status_code"), look(error, "response", "status_code")):
        if isinstance(found, int) and _STATUS_MIN <= found <= _STATUS_MAX:
            return int(found)
    return None
