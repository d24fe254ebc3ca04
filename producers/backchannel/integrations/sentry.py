"""Errors that Sentry sees as ``ErrorEvent``s, too: a ``before_send`` hook."""

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from backchannel.failures import fingerprint
from backchannel.recorder import Recorder

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

__all__ = ["before_send"]

_LEVELS = ("debug", "info", "warning", "error", "fatal")
_DEFAULT = "{{ default }}"
"""In a list of fingerprints: Sentry's own grouping."""
_FRAMES_MAX = 40
_STACK_CHARACTERS_MAX = 32_768
_MESSAGE_CHARACTERS_MAX = 4_096
_LABEL_CHARACTERS_MAX = 256


def before_send(
    producer: Recorder, then: "Callable[[Event, Hint], Event | None] | None" = None
) -> "Callable[[Event, Hint], Event | None]":
    """Returns a hook for ``sentry_sdk.init(before_send=…)``: Sentry gets what it would get, and
    every event of its becomes an ``ErrorEvent`` with its stack (never the values of variables),
    fingerprint, environment and release.

    ``then`` is a hook of the bot's own. It is asked first: what it drops is no ``ErrorEvent``
    either, and what it takes out of an event is not told. Inside a turn the event belongs to it.
    Nothing that goes wrong here reaches Sentry or the bot.
    """

    def hook(event: "Event", hint: "Hint") -> "Event | None":
        kept = event if then is None else then(event, hint)
        if kept is not None:
            try:
                told = _told(kept, hint)
            except Exception:  # noqa: BLE001  # an event of another shape: it is counted, at least
                told = {"text": "an event of Sentry that could not be read", "level": "error"}
            producer.capture_message(**told)
        return kept

    return hook


def _told(event: "Event", hint: "Hint") -> dict[str, Any]:
    """Returns the arguments of ``capture_message``; what Sentry does not say is left out."""
    thrown: Mapping[str, Any] = ((event.get("exception") or {}).get("values") or [{}])[-1]
    level = event.get("level") or "error"
    trace: Mapping[str, Any] = (event.get("contexts") or {}).get("trace") or {}
    attributes = {
        "sentry_event_id": event.get("event_id"),
        "sentry_trace_id": trace.get("trace_id"),
    }
    fields = {
        "exception_type": thrown.get("type"),
        "stacktrace": _stack(event),
        "fingerprint": _fingerprint(event, hint),
        "handled": (thrown.get("mechanism") or {}).get("handled", True) is not False,
        "environment": event.get("environment"),
        "service_version": event.get("release"),
        "component": event.get("logger"),
        "attributes": {name: str(value) for name, value in attributes.items() if value},
    }
    return {
        "text": _message(event, thrown)[:_MESSAGE_CHARACTERS_MAX],
        "level": level if level in _LEVELS else "error",
        **{
            name: value[:_LABEL_CHARACTERS_MAX]
            if isinstance(value, str) and name != "stacktrace"
            else value
            for name, value in fields.items()
            if value is not None
        },
    }


def _message(event: "Event", thrown: Mapping[str, Any]) -> str:
    entry: Mapping[str, Any] = event.get("logentry") or {}
    found = thrown.get("value") or entry.get("formatted") or entry.get("message")
    return str(found or event.get("message") or "")


def _stack(event: "Event") -> str:
    """Writes the stacks as Python does, with the lines of code but without variables."""
    lines: list[str] = []
    for thrown in (event.get("exception") or {}).get("values") or ():
        for frame in ((thrown.get("stacktrace") or {}).get("frames") or ())[-_FRAMES_MAX:]:
            file = frame.get("filename") or frame.get("abs_path") or "?"
            lines.append(f'  File "{file}", line {frame.get("lineno")}, in {frame.get("function")}')
            if code := frame.get("context_line"):
                lines.append(f"    {code.strip()}")
        lines.append(f"{thrown.get('type')}: {thrown.get('value')}")
    # The end says what went wrong, so it is the start that is cut off.
    return "\n".join(lines)[-_STACK_CHARACTERS_MAX:]


def _fingerprint(event: "Event", hint: "Hint") -> str:
    """Returns what groups equal errors: the bot's own choice, else what ``capture_exception``
    would say of the exception."""
    own = [each for each in event.get("fingerprint") or () if each != _DEFAULT]
    error = (hint.get("exc_info") or (None, None, None))[1]
    by_us = fingerprint(error) if error is not None else ""
    if not own:
        return by_us
    if _DEFAULT in (event.get("fingerprint") or ()):
        own.append(by_us)
    return hashlib.blake2b("\n".join(own).encode(), digest_size=8).hexdigest()
