"""What is going on right now: the context, turn and call that new events belong to.

Scopes form a chain from the innermost outwards. The innermost one stands in a context variable, so
that every task and every ``asyncio.to_thread`` started inside inherits it. No token of that
variable is ever kept: a generator may be closed in another context than it was started in, where a
token cannot be reset. A scope leaves only if it is the current one, and puts back the nearest scope
that is still open.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, Self

from backchannel.events import Envelope

__all__ = [
    "OWN",
    "Context",
    "OpenConversation",
    "OpenTurn",
    "Scope",
    "current_scope",
    "inherited",
]

OWN = frozenset({"event_id", "ts_us", "schema_version", "producer_id", "seq", "span_id"})
"""Fields of the envelope that belong to one event, so that nothing inherits them."""
_INHERITABLE = frozenset(Envelope.model_fields) - OWN

_current: ContextVar["Scope | None"] = ContextVar("backchannel_scope", default=None)

current_scope: Callable[[], "Scope | None"] = _current.get
"""Returns the innermost scope of this task or thread, or ``None``."""


class OpenTurn(Protocol):
    """What a call tells the turn that it belongs to."""

    def count_call(self, fields: Mapping[str, Any]) -> None:
        """A call ended: its tokens and cost are the turn's, too."""
        ...

    def count_part(self, name: str, us: int) -> None:
        """A part of the turn took so long."""
        ...

    def saw_token(self) -> None:
        """A call got its first token."""
        ...


class OpenConversation(Protocol):
    """What a turn tells the conversation that it belongs to."""

    def next_turn(self, given: Any) -> int:
        """A turn begins: returns its number."""
        ...

    def count_turn(self, fields: Mapping[str, Any]) -> None:
        """A turn ended."""
        ...


class Scope:
    """A link of the chain. A base class, since a turn that is current *is* the link: another
    object for each turn would cost as much as all the rest of entering it."""

    __slots__ = ("_closed", "_parent", "_previous", "memo")

    memo: Any
    """What an outlet remembers of the last event that was tracked here."""
    _closed: bool
    """Left or ended: nothing new becomes its child by being current."""
    _parent: "Scope | None"
    """The scope this one belongs to."""
    _previous: "Scope | None"
    """The scope that was current when this one became it."""

    def passed_on(self) -> Mapping[str, Any]:
        """Returns the envelope fields that what happens inside inherits."""
        return {}

    def lend_span_id(self) -> str:
        """Returns the id that children name as their parent; empty when there is none."""
        return self._parent.lend_span_id() if self._parent is not None else ""

    def open_turn(self) -> OpenTurn | None:
        """Returns the innermost turn that has not ended."""
        return self._parent.open_turn() if self._parent is not None else None

    def open_conversation(self) -> OpenConversation | None:
        """Returns the innermost conversation."""
        return self._parent.open_conversation() if self._parent is not None else None

    def in_part(self) -> bool:
        """Whether what happens here happens inside a timed part of its turn already."""
        return self._parent.in_part() if self._parent is not None else False

    def _enter(self) -> None:
        self._previous = _current.get()
        _current.set(self)

    def _leave(self) -> None:
        self._closed = True
        if _current.get() is self:
            scope = self._previous
            while scope is not None and scope._is_gone():
                scope = scope._previous
            _current.set(scope)

    def _is_gone(self) -> bool:
        """Whether nobody may go on in it, once what was opened inside is left."""
        return self._closed


def inherited(scope: Scope | None) -> dict[str, Any]:
    """Returns the envelope fields that an event under a scope has; the innermost value wins."""
    found: dict[str, Any] = {}
    if scope is None:
        return found
    parent_span_id = scope.lend_span_id()  # first: it makes a turn give itself a trace
    if parent_span_id:
        found["parent_span_id"] = parent_span_id
    while scope is not None:
        for name, value in scope.passed_on().items():
            if name in _INHERITABLE:
                found.setdefault(name, value)
        scope = scope._parent
    return found


class Context:
    """Envelope fields for everything that is tracked inside: ``with`` and ``async with`` alike.

    Contexts nest, the innermost value wins, and an event's own value wins over all. May be entered
    again, also at the same time in several tasks.
    """

    __slots__ = ("_entered", "_fields", "_parent")

    @property
    def conversation(self) -> OpenConversation | None:
        """The conversation that this is, if it is one."""
        return None

    def __init__(self, fields: dict[str, Any], parent: Scope | None = None) -> None:
        self._fields = fields
        self._parent = parent
        self._entered: list[_Fields] = []

    def scope(self, parent: Scope | None) -> Scope:
        """Returns a scope with these fields, under another, that nobody has entered."""
        return _Fields(self, self._fields, parent)

    def __enter__(self) -> Self:
        entry = _Fields(self, self._fields, self._parent or _current.get())
        self._entered.append(entry)
        entry._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        scope = _current.get()
        while scope is not None and scope not in self._entered:
            scope = scope._previous
        # A generator may be closed in another thread than it was entered in.
        scope = scope or (self._entered[-1] if self._entered else None)
        if isinstance(scope, _Fields):
            with suppress(ValueError):  # two threads at once
                self._entered.remove(scope)
            scope._leave()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)


class _Fields(Scope):
    """One entry of a context."""

    __slots__ = ("_fields", "_misplaced", "owner")

    def __init__(self, owner: Context, fields: dict[str, Any], parent: Scope | None) -> None:
        self.owner = owner
        self._fields = fields
        self.memo: Any = None
        self._closed = False
        self._misplaced = False
        self._parent = parent
        self._previous = None

    def passed_on(self) -> Mapping[str, Any]:
        return self._fields

    def _leave(self) -> None:
        self._misplaced = _current.get() is not self
        super()._leave()

    def _is_gone(self) -> bool:
        # A task that was started inside goes on in it, when the block around its start is long
        # over. But where the block was left out of order, or elsewhere, nothing must stay behind.
        return self._misplaced

    def open_conversation(self) -> OpenConversation | None:
        return self.owner.conversation or super().open_conversation()

    def lend_span_id(self) -> str:
        given = self._fields.get("parent_span_id")
        return given if isinstance(given, str) and given else super().lend_span_id()
