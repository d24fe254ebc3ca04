"""Streamed answers, timed in the iterator itself, also when nobody reads them to their end."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

__all__ = ["AsyncStream", "Progress", "Stream", "Streamed"]

T = TypeVar("T")


class Progress:
    """How far a stream was read. Apart from the stream, so that what it belongs to can know of it
    without keeping it alive: a stream that is thrown away must be seen to go."""

    __slots__ = ("exhausted", "over", "tokens")

    def __init__(self) -> None:
        self.tokens: int = 0
        """Items that were read and held a token."""
        self.over: bool = False
        self.exhausted: bool = False


class Streamed(Protocol):
    """What a stream tells its progress to."""

    def first_token(self) -> None: ...

    def stream_over(self, kind: type[BaseException] | None) -> None:
        """It was read to its end (``None``), failed, or was left early (``GeneratorExit``)."""
        ...

    def count_misfit(self) -> None:
        """The bot's own reader raised."""
        ...


class _Watch(Generic[T]):
    """Tells a span what becomes of its stream."""

    __slots__ = ("_read", "_span", "progress")

    def __init__(self, span: Streamed, read: Callable[[T], object] | None) -> None:
        self.progress = Progress()
        self._span = span
        self._read = read

    def took(self, item: T) -> None:
        progress = self.progress
        if self._read is not None:
            try:
                if self._read(item) is False:
                    return
            except Exception:  # noqa: BLE001  # the bot still gets its item
                self._span.count_misfit()
        progress.tokens += 1
        if progress.tokens == 1:
            self._span.first_token()

    def over(self, kind: type[BaseException] | None) -> None:
        progress = self.progress
        if not progress.over:
            progress.over = True
            progress.exhausted = kind is None
            self._span.stream_over(kind)


class Stream(Generic[T]):
    """A wrapped stream: the same items, and every other attribute of what it wraps."""

    __slots__ = ("__weakref__", "_items", "_source", "_watch")

    def __init__(
        self, source: Iterable[T], span: Streamed, read: Callable[[T], object] | None = None
    ) -> None:
        self._watch = _Watch(span, read)
        self._source = source
        self._items: Iterator[T] | None = None

    @property
    def progress(self) -> Progress:
        """How far it was read."""
        return self._watch.progress

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            if self._items is None:
                self._items = iter(self._source)
            item = next(self._items)
        except StopIteration:
            self._watch.over(None)
            raise
        except BaseException as error:
            self._watch.over(type(error))
            raise
        self._watch.took(item)
        return item

    def close(self) -> None:
        """Closes what it wraps, if that can be closed, and ends."""
        try:
            close = getattr(self._items, "close", None) or getattr(self._source, "close", None)
            if close is not None:
                close()
        finally:
            self._watch.over(GeneratorExit)

    def __enter__(self) -> Self:
        enter = getattr(self._source, "__enter__", None)
        if enter is not None:
            enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        leave = getattr(self._source, "__exit__", None)
        if leave is None:
            self.close()
            return
        try:
            leave(kind, error, traceback)
        finally:
            self._watch.over(kind or GeneratorExit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __del__(self) -> None:
        self._watch.over(GeneratorExit)


class AsyncStream(Generic[T]):
    """A wrapped asynchronous stream: the same items, and every other attribute of what it wraps."""

    __slots__ = ("__weakref__", "_items", "_source", "_watch")

    def __init__(
        self, source: AsyncIterable[T], span: Streamed, read: Callable[[T], object] | None = None
    ) -> None:
        self._watch = _Watch(span, read)
        self._source = source
        self._items: AsyncIterator[T] | None = None

    @property
    def progress(self) -> Progress:
        """How far it was read."""
        return self._watch.progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            if self._items is None:
                self._items = aiter(self._source)
            item = await anext(self._items)
        except StopAsyncIteration:
            self._watch.over(None)
            raise
        except BaseException as error:
            self._watch.over(type(error))
            raise
        self._watch.took(item)
        return item

    async def aclose(self) -> None:
        """Closes what it wraps, if that can be closed, and ends."""
        try:
            close = getattr(self._items, "aclose", None) or getattr(self._source, "aclose", None)
            if close is not None:
                await close()
        finally:
            self._watch.over(GeneratorExit)

    async def close(self) -> None:
        """The same: some libraries call it so."""
        close = getattr(self._source, "close", None)
        if close is None:
            await self.aclose()
            return
        try:
            await close()
        finally:
            self._watch.over(GeneratorExit)

    async def __aenter__(self) -> Self:
        enter = getattr(self._source, "__aenter__", None)
        if enter is not None:
            await enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        leave = getattr(self._source, "__aexit__", None)
        if leave is None:
            await self.aclose()
            return
        try:
            await leave(kind, error, traceback)
        finally:
            self._watch.over(kind or GeneratorExit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __del__(self) -> None:
        self._watch.over(GeneratorExit)
