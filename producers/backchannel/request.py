"""A block at whose end everything tracked so far is with Kafka: for processes that freeze."""

from types import TracebackType
from typing import Protocol, Self

__all__ = ["Request"]


class _Flushes(Protocol):
    async def flush(self, timeout: float) -> int: ...

    def flush_sync(self, timeout: float) -> int: ...


class Request:
    """Flushes at its end, used with ``with`` (which blocks) or ``async with``; used once.

    An exception of the block goes on its way, after the flush.
    """

    def __init__(self, producer: _Flushes, timeout_s: float) -> None:
        self._producer = producer
        self._timeout_s = timeout_s
        self.unacknowledged: int = 0
        """What the flush left behind, once the block has ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unacknowledged = self._producer.flush_sync(self._timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unacknowledged = await self._producer.flush(self._timeout_s)
