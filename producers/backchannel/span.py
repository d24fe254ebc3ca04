"""Something that takes time and becomes one event when it ends: turns, calls, searches, parts."""

import operator
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeVar, overload

from backchannel.events import Event, new_event_id
from backchannel.metering import picodollars
from backchannel.observe import observed
from backchannel.outlet import Outlet
from backchannel.scope import Context, Scope, current_scope, inherited
from backchannel.streams import AsyncStream, Progress, Stream

__all__ = ["Span", "put_counts", "status_of"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


ContentPart = Literal["prompt", "reply", "query", "document"]
"""What a text is."""

_TEXTS_MAX = 64


class Span(Scope):
    """What turns and calls have in common. Used once, with ``with``, ``async with``, or by hand.

    A block (``with``) makes it current: what happens inside belongs to it. ``start`` and ``end``
    do not, since they may be called in different tasks, threads and callbacks; what belongs to
    such a span is opened by its own methods, or inside ``with span.within():``.

    When it ends, one event is tracked: ``ts_us`` is that instant, ``duration_us`` the time since
    the start, ``status`` how it ended. An exception is noted by the name of its class, never by its
    message, and goes on its way. Nothing here blocks or raises: fields that don't fit the contract
    are cut or left out, and counted. Ending again does nothing.

    A base class, since all of them share the ways in and out and nothing is gained by each
    repeating them.
    """

    __slots__ = (
        "_ended",
        "_fields",
        "_held",
        "_outlet",
        "_progress",
        "_span_id",
        "_started_us",
        "_texts",
    )

    EVENT: ClassVar[type[Event]]
    streams: ClassVar[bool] = False
    """Whether its event has a time to the first token."""

    def __init__(self, outlet: Outlet, fields: dict[str, Any], parent: Scope | None = None) -> None:
        self.memo: Any = None
        self._closed = False
        self._previous = None
        self._parent = parent = self._around() if parent is None else parent
        if parent is not None:
            parent.lend_span_id()  # now: once the parent has ended, its event can't name it
        self._outlet = outlet
        self._fields = fields
        self._span_id = ""
        self._ended = False
        self._held: Literal["", "by hand", "by block"] = ""
        self._progress: Progress | None = None
        self._texts: tuple[tuple[str, str], ...] = ()
        self._started_us = outlet.clock.monotonic_us()

    def _around(self) -> Scope | None:
        """Returns what it belongs to when nobody says so."""
        return current_scope()

    @property
    def event_id(self) -> str:
        """The id that the event will have: what feedback and evaluations point at."""
        found = self._fields.get("event_id")
        if found is None:
            found = self._fields["event_id"] = new_event_id()
        return found if isinstance(found, str) else ""

    @property
    def span_id(self) -> str:
        """The id that children name as their parent: 16 hexadecimal digits."""
        if not self._span_id:
            given = self._fields.get("span_id")
            # The second half of a UUID version 7 is random: the one id serves for both.
            own = self.event_id.replace("-", "")[16:]
            self._span_id = given if isinstance(given, str) and given else own
        return self._span_id

    def set(self, **fields: Any) -> None:
        """Sets fields of the event, e.g. ``status="blocked"``."""
        self._fields.update(fields)

    @property
    def keeps_content(self) -> bool:
        """Whether ``capture_content`` is on: if not, a text need not even be put together."""
        return self._outlet.intake.on_texts is not None

    def prompt(self, text: str) -> None:
        """Keeps a prompt for ``chat.content``; nothing unless ``capture_content`` is on."""
        self.content("prompt", text)

    def reply(self, text: str) -> None:
        """Keeps a reply for ``chat.content``; nothing unless ``capture_content`` is on."""
        self.content("reply", text)

    def content(self, part: ContentPart, text: str) -> None:
        """Keeps a text for ``chat.content``, tied to this event; it is sent when the event is.

        Nothing is kept unless ``capture_content`` is on. ``content_chars_max`` characters of a text
        are sent, and 64 texts of an event: more count as repaired.
        """
        if self._outlet.intake.on_texts is None:
            return
        if len(self._texts) < _TEXTS_MAX:
            self._texts = (*self._texts, (part, text))
        else:
            self._outlet.count_repaired(1)

    def elapsed_us(self) -> int:
        """Returns the time since the start."""
        return self._outlet.clock.monotonic_us() - self._started_us

    def set_default(self, **fields: Any) -> None:
        """Sets those of the fields that nobody has set: what is said later than it is known."""
        for name, value in fields.items():
            self._fields.setdefault(name, value)

    def first_token(self) -> None:
        """Notes that the first token of a streamed answer is there; only the first call counts."""
        if "ttft_us" not in self._fields:
            self._fields["ttft_us"] = self._outlet.clock.monotonic_us() - self._started_us
            self._fields["streamed"] = True

    @overload
    def stream(
        self, source: Iterable[T], *, read: Callable[[T], object] | None = None
    ) -> Stream[T]: ...
    @overload
    def stream(
        self, source: AsyncIterable[T], *, read: Callable[[T], object] | None = None
    ) -> AsyncStream[T]: ...
    def stream(
        self,
        source: Iterable[T] | AsyncIterable[T],
        *,
        read: Callable[[T], object] | None = None,
    ) -> Stream[T] | AsyncStream[T]:
        """Wraps a streamed answer: iterate over what is returned instead.

        Its first item is the first token. ``read`` is called with each item, e.g. to take the
        usage out of the last one, and may return ``False`` for an item that holds no token. When
        the stream is exhausted, closed, abandoned, or fails, the span ends, unless it is a block:
        then the block's end ends it. (After ``start``, only ``end`` ends it once the stream is
        exhausted.) A stream that was not read to its end is ``cancelled``.
        """
        found: Stream[T] | AsyncStream[T]
        if isinstance(source, AsyncIterable):
            found = AsyncStream(source, self, read)
        else:
            found = Stream(source, self, read)
        self._progress = found.progress
        return found

    def start(self) -> Self:
        """Starts the time by hand; ``end`` must follow. Making the span has started it, too."""
        self._held = "by hand"
        self._started_us = self._outlet.clock.monotonic_us()
        return self

    def end(self, *, status: str = "", error: BaseException | None = None) -> None:
        """Ends it by hand, with a status or the exception that ended it."""
        if status:
            self._fields["status"] = status
        self._end(type(error) if error is not None else None)

    def __call__(self, function: F) -> F:
        """Decorates a function: each call of it is such a span of its own."""
        fields = dict(self._fields)
        return observed(function, lambda: type(self)(self._outlet, dict(fields)))

    def within(self) -> Context:
        """Makes it current for a block that does not end it; may be used many times."""
        return Context({}, self)

    def __enter__(self) -> Self:
        self._enter()
        self._held = "by block"
        self._started_us = self._outlet.clock.monotonic_us()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        self._end(kind)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    # For the scopes and streams inside.

    def passed_on(self) -> Mapping[str, Any]:
        return {**self._outlet.bound, **self._fields}

    def lend_span_id(self) -> str:
        return self.span_id

    def stream_over(self, kind: type[BaseException] | None) -> None:
        if self._held == "by block" or (self._held and kind is None):
            return
        self._end(kind)

    def count_misfit(self) -> None:
        self._outlet.count_repaired(1)

    # The end.

    def _end(self, kind: type[BaseException] | None) -> None:
        if self._ended:
            return
        self._ended = self._closed = True
        # Now, and not where the event is made: feedback and scores ask for it when all is over.
        if "event_id" not in self._fields:
            self._fields["event_id"] = new_event_id()
        try:
            self._emit(kind)
        except Exception:  # noqa: BLE001  # whatever the fields were: it is counted, and the bot goes on
            self._outlet.intake.count_invalid()

    def _emit(self, kind: type[BaseException] | None) -> None:
        outlet = self._outlet
        clock = outlet.clock
        fields: dict[str, Any] = {
            "ts_us": clock.now_us(),
            "duration_us": clock.monotonic_us() - self._started_us,
        }
        if self._parent is not None:
            fields.update(inherited(self._parent))
            fields.update(outlet.bound)
        fields.update(self._fields)
        if self._span_id:
            fields.setdefault("span_id", self._span_id)
        progress = self._progress
        if kind is None and progress is not None and not progress.exhausted:
            kind = GeneratorExit
        if kind is not None:
            status = status_of(kind)
            fields.setdefault("status", status)
            if status != "cancelled":
                fields.setdefault("error_type", kind.__name__)
        self._complete(fields)
        outlet.emit(self.EVENT, fields, self._texts)

    def _complete(self, fields: dict[str, Any]) -> None:
        """Adds what this kind of span knows besides, before the event is made."""


def put_counts(fields: dict[str, Any], counts: Mapping[str, Any], *, add: bool) -> int:
    """Puts tokens and costs into an event's fields; returns how many were no whole numbers.

    Words (``usage_source``) are set, numbers are added or set. ``cost_usd`` is taken in dollars.
    """
    misfits = 0
    for name, count in counts.items():
        plain = type(count) is int and name != "cost_usd"
        if plain and type(known := fields.get(name, 0)) is int:
            fields[name] = known + count if add else count  # as good as always
            continue
        try:
            if name == "cost_usd":
                name, count = "cost_picousd", picodollars(count)
            if isinstance(count, str):
                fields[name] = count
            else:
                known = operator.index(fields.get(name) or 0) if add else 0
                fields[name] = known + operator.index(count)
        except Exception:  # noqa: BLE001  # not a whole number, whatever it is
            misfits += 1
    return misfits


def status_of(kind: type[BaseException]) -> str:
    """Returns the status of what ended with an exception."""
    if issubclass(kind, TimeoutError):
        return "timeout"
    # asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit: someone stopped it.
    if not issubclass(kind, Exception):
        return "cancelled"
    futures = sys.modules.get("concurrent.futures")  # who has not loaded it cannot have raised it
    if futures is not None and issubclass(kind, futures.CancelledError):
        return "cancelled"
    return "error"
