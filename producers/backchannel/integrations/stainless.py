"""Watches the clients that Stainless generated, OpenAI's and Anthropic's: they share one shape.

Every call, whatever helper it is made with, goes through ``client.request`` as one set of options,
and every stream reads its pieces from ``_iterator``. Those two are watched, on the one client that
is wrapped; what they return is handed on as it is, so that types, attributes, context managers,
raw responses and parsers stay what they are. What is not there in some version is not watched:
then a figure is missing, never an answer.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

from backchannel.calls import Call
from backchannel.integrations.answer import Answer, Operation, keep_content
from backchannel.integrations.outcome import outcome
from backchannel.integrations.payload import look
from backchannel.integrations.providers import provider_at, provider_name
from backchannel.prices import PriceBook
from backchannel.recorder import Recorder

__all__ = ["watch"]

C = TypeVar("C")

_MARK = "_backchannel"
"""Stands in a client that is watched already."""


def watch(
    client: C,
    producer: Recorder,
    operations: Mapping[str, Operation],
    *,
    provider: str | None,
    count_streams: bool | None,
) -> C:
    """Watches a client's calls from now on, and those of the clients copied from it.

    ``operations`` are keyed by the path they are posted to. Watching twice does nothing.

    Raises:
        TypeError: it is no client of this shape. Nothing is raised later.
    """
    instance: Any = client
    plain, copy = getattr(instance, "request", None), getattr(instance, "copy", None)
    if not callable(plain) or not callable(copy):
        raise TypeError(f"{type(client).__name__} is no client that can be wrapped")
    if _MARK in vars(instance):
        return client
    PriceBook.make_way()
    host = str(look(instance, "base_url", "host") or "")
    provider = provider_name(provider) if provider else provider_at(host) or host
    watched = _Client(producer, operations, provider, host, count_streams)

    @functools.wraps(plain)
    def request(cast_to: Any, options: Any, **rest: Any) -> Any:
        call, options = watched.begin(options)
        if call is None:
            return plain(cast_to, options, **rest)
        try:
            answer = plain(cast_to, options, **rest)
        except BaseException as error:
            call.fail(error)
            raise
        call.receive(answer)
        return answer

    @functools.wraps(plain)
    async def arequest(cast_to: Any, options: Any, **rest: Any) -> Any:
        call, options = watched.begin(options)
        if call is None:
            return await plain(cast_to, options, **rest)
        try:
            answer = await plain(cast_to, options, **rest)
        except BaseException as error:
            call.fail(error)
            raise
        call.receive(answer)
        return answer

    @functools.wraps(copy)
    def copied(*args: Any, **kwargs: Any) -> Any:
        return watch(
            copy(*args, **kwargs),
            producer,
            operations,
            provider=provider if "base_url" not in kwargs else None,
            count_streams=count_streams,
        )

    vars(instance).update(
        {
            _MARK: watched,
            "request": arequest if inspect.iscoroutinefunction(plain) else request,
            "copy": copied,
            "with_options": copied,
        }
    )
    return client


class _Client:
    """What is known of a watched client."""

    def __init__(
        self,
        producer: Recorder,
        operations: Mapping[str, Operation],
        provider: str,
        host: str,
        count_streams: bool | None,
    ) -> None:
        self._producer = producer
        self._operations = operations
        self._fields = {"provider": provider, "server_address": host}
        # Servers of other makes may refuse a field that they don't know, and then the bot's call
        # fails: it is asked only where it is known to be understood, or where the bot says so.
        self._count_streams = (
            provider in ("openai", "azure") if count_streams is None else count_streams
        )

    def begin(self, options: Any) -> "tuple[_Call | None, Any]":
        """Opens a call; returns it with the options to send, or ``None`` for what is no call."""
        try:
            path, _, _ = str(options.url).partition("?")
            operation = self._operations.get(path.removeprefix("/v1"))
            body = options.json_data
            if operation is None or str(options.method).lower() != "post":
                return None, options
            if not isinstance(body, Mapping):
                body = {}
            raw = any(name.lower() == _RAW for name in options.headers or ())
            asked = None
            if self._count_streams and body.get("stream") and not raw:
                asked = operation.ask(body)
            if asked is not None:
                options = options.model_copy(update={"json_data": asked})
            fields = {**self._fields, "operation": operation.name, **operation.request(body)}
            call = self._producer.llm_call(**fields).start()
            return _Call(call, operation, body, hides=asked is not None), options
        except Exception:  # noqa: BLE001  # whatever a version does otherwise: the bot's call goes on
            return None, options


_RAW = "x-stainless-raw-response"
"""Header of a call whose answer the bot reads itself, maybe byte for byte."""
_RETRIES = "x-stainless-retry-count"


class _Call:
    """One call under way: from its request to the last piece of its answer. Never raises."""

    def __init__(self, call: Call, operation: Operation, body: Any, *, hides: bool) -> None:
        self._call = call
        self._operation = operation
        self._prompt = body
        self._answer = Answer(words=[] if call.keeps_content else None)
        self._hides = hides
        self._seen_us: int | None = None
        self._done = False
        self.reading = False
        """Whether the bot waits for a piece just now: a response that closes then is not left."""

    def fail(self, error: BaseException) -> None:
        """It ended with an exception."""
        self._retries(look(error, "response"))
        self._end(outcome(error).fields())

    def receive(self, answer: Any) -> None:
        """An answer came: whole, as a stream, or as a response that the bot reads itself."""
        try:
            http = look(answer, "http_response")
            if http is not None and callable(look(answer, "parse")):
                self._receive_raw(answer, http)
            elif hasattr(answer, "_iterator"):
                self._receive_stream(answer)
            else:
                self.take_whole(answer)
        except Exception:  # noqa: BLE001  # a figure is missing, never an answer
            self._end({})

    def take_whole(self, answer: Any) -> None:
        """Reads an answer that came in one piece, and ends."""
        try:
            self._operation.whole(self._answer, answer)
        finally:
            self._end({})

    def take_part(self, part: Any) -> bool:
        """Reads a piece of a stream; returns whether the bot gets to see it."""
        try:
            self._seen_us = self._call.elapsed_us()
            if self._operation.part(self._answer, part):
                self._call.first_token()
            return not (self._hides and self._operation.asked_for(part))
        except Exception:  # noqa: BLE001  # a piece of a shape that nobody knows
            return True

    def exhaust(self) -> None:
        """The stream was read to its end."""
        self._end({})

    def leave(self) -> None:
        """The stream was left. It is cancelled, unless its end had been told already.

        It lasted until its last piece: when the bot turned away from it, nobody knows.
        """
        fields: dict[str, Any] = {} if self._answer.reasons else {"status": "cancelled"}
        if self._seen_us is not None:
            fields["duration_us"] = self._seen_us
        self._end(fields)

    def _receive_stream(self, stream: Any) -> None:
        pieces = stream._iterator
        if isinstance(pieces, (_Pieces, _AsyncPieces)):
            return
        self._call.set(streamed=True)
        vars(stream)["_iterator"] = (_AsyncPieces if hasattr(pieces, "__anext__") else _Pieces)(
            pieces, self
        )
        self._retries(stream.response)
        self._watch_close(stream.response, self.leave)

    def _receive_raw(self, answer: Any, http: Any) -> None:
        self._retries(http)
        if hasattr(http, "_content"):  # read already
            self.take_whole(http.json())
            return
        plain = answer.parse

        def parse(*args: Any, **kwargs: Any) -> Any:
            self.reading = True
            try:
                parsed = plain(*args, **kwargs)
            finally:
                self.reading = False
            self.receive(parsed)
            return parsed

        async def aparse(*args: Any, **kwargs: Any) -> Any:
            self.reading = True
            try:
                parsed = await plain(*args, **kwargs)
            finally:
                self.reading = False
            self.receive(parsed)
            return parsed

        vars(answer)["parse"] = aparse if inspect.iscoroutinefunction(plain) else parse
        # If the bot reads the bytes itself, only it knows what they said.
        self._watch_close(http, lambda: self._end({}))

    def _watch_close(self, http: Any, left: Callable[[], None]) -> None:
        """Hears of it when the bot closes the response."""
        plain, aplain = http.close, http.aclose

        def close() -> None:
            if not self.reading:
                left()
            plain()

        async def aclose() -> None:
            if not self.reading:
                left()
            await aplain()

        vars(http).update({"close": close, "aclose": aclose})

    def _retries(self, http: Any) -> None:
        headers = look(http, "request", "headers")
        if headers is not None:
            retries = str(headers.get(_RETRIES, ""))
            if retries.isdecimal():
                self._call.set(retries=int(retries))

    def _end(self, fields: dict[str, Any]) -> None:
        if self._done:
            return
        self._done = True
        try:
            self._call.set(**self._answer.told() | fields)
            counts = self._answer.counts(self._prompt)
            if counts:
                self._call.usage(**counts)
            keep_content(self._call, self._answer, self._prompt)
        except Exception:  # noqa: BLE001  # a prompt of a kind that nobody knows: a figure is missing
            self._call.count_misfit()
        self._call.end()


class _Pieces:
    """The pieces of a stream, each timed as it passes."""

    def __init__(self, pieces: Iterator[Any], call: _Call) -> None:
        self._pieces = pieces
        self._call = call

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        call = self._call
        while True:
            call.reading = True
            try:
                piece = next(self._pieces)
            except StopIteration:
                call.exhaust()
                raise
            except BaseException as error:
                call.fail(error)
                raise
            finally:
                call.reading = False
            if call.take_part(piece):
                return piece

    def close(self) -> None:
        self._call.leave()
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()

    def __del__(self) -> None:
        self._call.leave()


class _AsyncPieces:
    """The pieces of an asynchronous stream, each timed as it passes."""

    def __init__(self, pieces: AsyncIterator[Any], call: _Call) -> None:
        self._pieces = pieces
        self._call = call

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        call = self._call
        while True:
            call.reading = True
            try:
                piece = await anext(self._pieces)
            except StopAsyncIteration:
                call.exhaust()
                raise
            except BaseException as error:
                call.fail(error)
                raise
            finally:
                call.reading = False
            if call.take_part(piece):
                return piece

    async def aclose(self) -> None:
        self._call.leave()
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()

    def __del__(self) -> None:
        self._call.leave()
