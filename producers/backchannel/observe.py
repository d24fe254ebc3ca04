"""Functions that are spans: plain, asynchronous, generators and asynchronous generators.

No argument and no result is looked at. What a function is stays as it was: its signature, and
whether it is a coroutine function or a generator.
"""

import contextvars
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from backchannel.span import Span

__all__ = ["observed"]

F = TypeVar("F", bound=Callable[..., Any])


def observed(function: F, open_span: "Callable[[], Span]") -> F:
    """Returns the function with each of its calls inside a span that ``open_span`` makes."""
    wrapper: Callable[..., Any]
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, open_span)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, open_span)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, open_span)
    else:
        wrapper = _plain(function, open_span)
    # The wrapper takes and returns exactly what the function does; no type can say that.
    return cast(F, functools.wraps(function)(wrapper))


def _plain(function: Callable[..., Any], open_span: "Callable[[], Span]") -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with open_span():
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Any], open_span: "Callable[[], Span]") -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with open_span():
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Any], open_span: "Callable[[], Span]") -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        # The body runs in a context of its own: while it waits at a yield, whoever iterates over
        # it is not inside its span.
        context = contextvars.copy_context()
        span = context.run(_entered, open_span)
        try:
            body: Generator[Any, Any, Any] = function(*args, **kwargs)
            send, value = body.send, None
            first = True
            while True:
                try:
                    item = context.run(send, value)
                except StopIteration as done:
                    span.end()
                    return done.value
                if first:
                    first = False
                    _first_item(span)
                try:
                    send, value = body.send, (yield item)
                except GeneratorExit:
                    context.run(body.close)
                    raise
                except BaseException as error:  # noqa: BLE001  # thrown in: the body deals with it
                    send, value = body.throw, error
        except BaseException as error:
            span.end(error=error)
            raise

    return call


def _async_generator(
    function: Callable[..., Any], open_span: "Callable[[], Span]"
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        # A task has one context, so the span is current for each step alone, and never across a
        # yield: the next step may run in another task, and closing in the loop's own.
        span = open_span().start()
        try:
            body: AsyncGenerator[Any, Any] = function(*args, **kwargs)
            step, value = body.asend, None
            first = True
            while True:
                try:
                    with span.within():
                        item = await step(value)
                except StopAsyncIteration:
                    span.end()
                    return
                if first:
                    first = False
                    _first_item(span)
                try:
                    step, value = body.asend, (yield item)
                except GeneratorExit:
                    with span.within():
                        await body.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001  # thrown in: the body deals with it
                    step, value = body.athrow, error
        except BaseException as error:
            span.end(error=error)
            raise

    return call


def _entered(open_span: "Callable[[], Span]") -> "Span":
    span = open_span()
    return span.__enter__()


def _first_item(span: "Span") -> None:
    if span.streams:
        span.first_token()
