"""One turn of a bot, timed and described while it happens, and tracked when it ends."""

import concurrent.futures
import operator
from types import TracebackType
from typing import Any, Self

from backchannel.clock import Clock
from backchannel.events import Interaction, new_event_id
from backchannel.intake import Intake
from backchannel.stamps import Stamps

__all__ = ["Turn"]


class Turn:
    """A turn under way: a context manager for ``with`` and ``async with`` alike, used once.

    When the block ends, one ``Interaction`` is tracked: ``ts_us`` is the end of the turn,
    ``duration_us`` the time in the block, ``status`` how it ended. An exception is noted by the
    name of its class, never by its message, and goes on its way. Nothing here blocks or raises:
    fields that don't fit the contract are cut or left out, and counted.
    """

    __slots__ = ("_clock", "_components", "_fields", "_intake", "_stamps", "_started_us")

    def __init__(
        self, intake: Intake, stamps: Stamps, clock: Clock, fields: dict[str, Any]
    ) -> None:
        self._intake = intake
        self._stamps = stamps
        self._clock = clock
        self._fields = fields
        self._components: dict[str, int] = {}
        self._started_us = clock.monotonic_us()

    @property
    def event_id(self) -> str:
        """The id that the event will have: what feedback and evaluations point at."""
        found = self._fields.setdefault("event_id", new_event_id())
        return found if isinstance(found, str) else ""

    def component(self, name: str) -> "ComponentTimer":
        """Times a part of the turn, with ``with`` or ``async with``; repeated names add up."""
        return ComponentTimer(self._clock, self._components, name)

    def usage(self, **counts: Any) -> None:
        """Adds the tokens (and costs) of one call to a model: ``input_tokens=…, output_tokens=…``.

        Numbers add up over calls, and each call counts in ``llm_calls``; ``usage_source`` and
        other words are set.
        """
        fields = self._fields
        for name, count in {"llm_calls": 1, **counts}.items():
            try:
                if isinstance(count, str):
                    fields[name] = count
                else:
                    fields[name] = operator.index(fields.get(name) or 0) + operator.index(count)
            except Exception:  # noqa: BLE001  # not a whole number, whatever it is
                self._intake.count_repaired(1)

    def first_token(self) -> None:
        """Notes that the first token of a streamed answer is there; only the first call counts."""
        if "ttft_us" not in self._fields:
            self._fields["ttft_us"] = self._clock.monotonic_us() - self._started_us
            self._fields["streamed"] = True

    def set(self, **fields: Any) -> None:
        """Sets fields of the ``Interaction``, e.g. ``intent="refund"`` or ``status="blocked"``."""
        self._fields.update(fields)

    def __enter__(self) -> Self:
        self._started_us = self._clock.monotonic_us()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._end(kind)
        except Exception:  # noqa: BLE001  # whatever the fields were: the turn is counted, and the bot goes on
            self._intake.count_invalid()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _end(self, kind: type[BaseException] | None) -> None:
        fields = {
            "ts_us": self._clock.now_us(),
            "duration_us": self._clock.monotonic_us() - self._started_us,
            **self._fields,
        }
        if self._components:
            given = fields.get("components")
            known = given if isinstance(given, dict) else {}
            fields["components"] = {**known, **self._components}
        if kind is not None:
            status = _status(kind)
            fields.setdefault("status", status)
            if status != "cancelled":
                fields.setdefault("error_type", kind.__name__)
        self._intake.offer_fields(Interaction, fields, self._stamps)


class ComponentTimer:
    """Adds the time in its block to a part of the turn."""

    __slots__ = ("_clock", "_components", "_name", "_started_us")

    def __init__(self, clock: Clock, components: dict[str, int], name: str) -> None:
        self._clock = clock
        self._components = components
        self._name = name
        self._started_us = 0

    def __enter__(self) -> None:
        self._started_us = self._clock.monotonic_us()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        us = self._clock.monotonic_us() - self._started_us
        try:
            self._components[self._name] = self._components.get(self._name, 0) + us
        except Exception:  # noqa: BLE001  # a name that is no string, and not even hashable
            self._components["?"] = self._components.get("?", 0) + us

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)


def _status(kind: type[BaseException]) -> str:
    if issubclass(kind, TimeoutError):
        return "timeout"
    # asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit: someone stopped it.
    if not issubclass(kind, Exception) or issubclass(kind, concurrent.futures.CancelledError):
        return "cancelled"
    return "error"
