"""What a bot does inside a turn: calls to models, searches, tools, and other timed parts."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import islice
from types import TracebackType
from typing import Any, ClassVar

from backchannel.events import Component, Document, Event, LlmCall, Retrieval, ToolCall
from backchannel.metering import dollars, price
from backchannel.millionths import millionths
from backchannel.span import Span, put_counts

__all__ = ["Call", "ComponentTimer", "Search", "ToolUse"]

_DOCUMENTS_MAX = 256
"""Documents of one retrieval that the contract has room for."""


class _Inner(Span):
    """A span whose time is a component of the turn that it stands directly in."""

    __slots__ = ()

    def in_part(self) -> bool:
        return True

    def _count_part(self, name: str, fields: Mapping[str, Any]) -> None:
        """Adds the time to the turn, unless a call around this one will: no time counts twice."""
        parent = self._parent
        if parent is None or parent.in_part():
            return
        turn = parent.open_turn()
        if turn is not None:
            turn.count_part(name, fields["duration_us"])


class Call(_Inner):
    """One call to a model, embeddings included; becomes an ``LlmCall``.

    Its tokens and cost are added to the turn that it belongs to, its time to the turn's component
    ``llm_generation`` (``embedding`` for embeddings).
    """

    __slots__ = ()

    EVENT: ClassVar[type[Event]] = LlmCall
    streams = True

    def usage(self, **counts: Any) -> None:
        """Sets the tokens (and costs) of this call: ``input_tokens=…, output_tokens=…``.

        What a later call says wins: a stream reports its usage so far, then the whole. A cost that
        the provider reports (``cost_usd=…``) is taken as it is.
        """
        self._outlet.count_repaired(put_counts(self._fields, counts, add=False))

    @property
    def cost(self) -> Decimal | None:
        """What it cost so far, in dollars; ``None`` while that is not known, never 0 for that."""
        fields = dict(self._fields)
        self._price(fields, self._outlet.clock.now_us())
        return dollars(fields)

    def first_token(self) -> None:
        if "ttft_us" not in self._fields and self._parent is not None:
            turn = self._parent.open_turn()
            if turn is not None:
                turn.saw_token()
        super().first_token()

    def _complete(self, fields: dict[str, Any]) -> None:
        progress = self._progress
        if (
            progress is not None
            and progress.tokens
            and not progress.exhausted
            and not fields.get("output_tokens")
        ):
            # The provider counts at the end of a stream, which nobody waited for.
            fields["output_tokens"] = progress.tokens
            fields["usage_source"] = "estimate"
        self._price(fields, fields["ts_us"])
        embeds = fields.get("operation") == "embeddings"
        self._count_part("embedding" if embeds else "llm_generation", fields)
        turn = self._parent.open_turn() if self._parent is not None else None
        if turn is not None:
            turn.count_call(fields)

    def _price(self, fields: dict[str, Any], ts_us: int) -> None:
        models = (fields.get("response_model"), fields.get("request_model"))
        price(self._outlet.prices, fields, models, ts_us)


class Search(_Inner):
    """One search for documents; becomes a ``Retrieval``. Its time is ``rag_retrieval``."""

    __slots__ = ()

    EVENT: ClassVar[type[Event]] = Retrieval

    def documents(self, found: Iterable[Any]) -> None:
        """Says what was found, best first: ids, pairs of id and score, mappings or ``Document``s.

        Never their text. Ranks count from 1 where none is given.
        """
        try:
            # One more than there is room for: what a bot hands in may have no end.
            first = islice(found, _DOCUMENTS_MAX + 1)
            documents = [_document(rank, one) for rank, one in enumerate(first, start=1)]
        except Exception:  # noqa: BLE001  # whatever the bot's index returns
            self._outlet.count_repaired(1)
            return
        if len(documents) > _DOCUMENTS_MAX:
            self._outlet.count_repaired(1)
        self._fields["documents"] = tuple(documents[:_DOCUMENTS_MAX])

    def embedding(self) -> "Stopwatch":
        """Times the embedding of the query, with ``with`` or ``async with``; times add up."""
        return Stopwatch(self, "embed_us")

    def search(self) -> "Stopwatch":
        """Times the search in the index, with ``with`` or ``async with``; times add up."""
        return Stopwatch(self, "search_us")

    def _complete(self, fields: dict[str, Any]) -> None:
        self._count_part("rag_retrieval", fields)


class ToolUse(_Inner):
    """One call of a tool; becomes a ``ToolCall``. Its time is the component ``tool``."""

    __slots__ = ()

    EVENT: ClassVar[type[Event]] = ToolCall

    def _complete(self, fields: dict[str, Any]) -> None:
        self._count_part("tool", fields)


class ComponentTimer(_Inner):
    """A timed part: a component of its turn, or outside of any turn a ``Component`` event."""

    __slots__ = ()

    EVENT: ClassVar[type[Event]] = Component

    def _emit(self, kind: type[BaseException] | None) -> None:
        turn = self._parent.open_turn() if self._parent is not None else None
        if turn is None:
            super()._emit(kind)
        else:
            us = self._outlet.clock.monotonic_us() - self._started_us
            turn.count_part(self._fields["name"], us)


class Stopwatch:
    """Adds the time in its block to a field of a search."""

    __slots__ = ("_field", "_search", "_started_us")

    def __init__(self, search: Search, field: str) -> None:
        self._search = search
        self._field = field
        self._started_us = 0

    def __enter__(self) -> None:
        self._started_us = self._search._outlet.clock.monotonic_us()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        us = self._search._outlet.clock.monotonic_us() - self._started_us
        misfits = put_counts(self._search._fields, {self._field: us}, add=True)
        self._search._outlet.count_repaired(misfits)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)


def _document(rank: int, found: Any) -> Document:
    if isinstance(found, Document):
        return found
    if isinstance(found, str):
        return Document(id=found[:256], rank=rank)
    if isinstance(found, Mapping):
        fields = {"rank": rank, **found}
        fields["score"] = millionths(fields.get("score"))
        for name in ("id", "source"):
            fields[name] = str(fields.get(name, ""))[:256]
        return Document(**{name: fields[name] for name in Document.model_fields if name in fields})
    name, score = found
    return Document(id=str(name)[:256], score=millionths(score), rank=rank)
