"""Every HTTP request of an ASGI application as a turn: FastAPI, Starlette, or any other."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from fnmatch import fnmatchcase
from typing import Any

from backchannel.recorder import Recorder
from backchannel.turn import Turn

__all__ = ["BackchannelMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

UNMATCHED = "(unmatched)"
"""The endpoint of requests that no route takes: their paths are anybody's choice."""

_EXCLUDED = (
    *("/health", "/healthz", "/livez", "/readyz", "/metrics", "/metrics/*"),
    *("/docs", "/redoc", "/openapi.json", "/favicon.ico"),
)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_SECURITY = {401: "authentication", 403: "authorization"}
_STATUSES = {401: "blocked", 403: "blocked", 408: "timeout", 429: "rate_limited", 504: "timeout"}


class BackchannelMiddleware:
    """Opens a turn for each request, and tracks it when the response is complete.

    Handlers reach the turn with ``backchannel.current_turn()`` and need not open one; what they
    track belongs to it. The endpoint is the route's template, never the path. Besides the turn:
    401 and 403 become a ``Security`` event, an exception that leaves the application an
    ``ErrorEvent``, and goes on its way.

    How a turn ends: ``cancelled`` when the client went away before the response was complete;
    ``error`` after an exception or a status of 500 and above, but ``timeout`` for 504 and 408,
    ``rate_limited`` for 429, ``blocked`` for 401 and 403; else ``ok``, since any other status below
    500 is an answer. What the handler has set wins.

    Websockets pass through: one connection is many turns, which the handler opens itself. So does
    everything else that is no HTTP request.
    """

    def __init__(
        self,
        app: App,
        producer: Recorder,
        *,
        only: Iterable[str] = (),
        exclude: Iterable[str] = _EXCLUDED,
        fields: Callable[[Scope], Mapping[str, Any]] | None = None,
        capture_errors: bool = True,
    ) -> None:
        """``only`` and ``exclude`` are patterns of paths, as in ``fnmatch``; without ``only`` all
        paths are meant. ``fields`` returns what is known of a request from its ASGI scope, e.g.
        ``user_id``; if it fails, that is counted and the request goes on without.
        ``capture_errors=False`` leaves exceptions to somebody else, e.g. Sentry's hook."""
        self._app = app
        self._producer = producer
        self._only = tuple(only)
        self._exclude = tuple(exclude)
        self._fields = fields
        self._capture_errors = capture_errors
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_meant(scope["path"]):
            await self._app(scope, receive, send)
            return
        self._in_flight += 1
        exchange = _Exchange(self._open(scope), scope, self._producer, self._capture_errors)
        try:
            with exchange.turn:
                await exchange.run(self._app, receive, send)
        finally:
            self._in_flight -= 1

    def _is_meant(self, path: str) -> bool:
        if any(fnmatchcase(path, pattern) for pattern in self._exclude):
            return False
        return not self._only or any(fnmatchcase(path, pattern) for pattern in self._only)

    def _open(self, scope: Scope) -> Turn:
        fields: dict[str, Any] = {"http_method": scope["method"], "in_flight": self._in_flight}
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                fields["request_id"] = value.decode("latin-1")
            elif name == b"traceparent" and (
                known := _TRACEPARENT.fullmatch(value.decode("latin-1"))
            ):
                fields["trace_id"], fields["parent_span_id"] = known.groups()
        turn = self._producer.interaction(**fields)
        if self._fields is not None:
            try:
                turn.set(**self._fields(scope))
            except Exception:  # noqa: BLE001  # the bot's own function: the request matters more
                turn.set(request_fields="")  # there is no such field: it is counted as a misfit
        return turn


class _Exchange:
    """One request and its response."""

    def __init__(self, turn: Turn, scope: Scope, producer: Recorder, capture_errors: bool) -> None:
        self.turn = turn
        self._capture_errors = capture_errors
        self._scope = scope
        self._producer = producer
        self._root_path = str(scope.get("root_path", ""))
        self._status = 0
        self._is_complete = False
        self._is_gone = False
        """The client went away before the response was complete."""

    async def run(self, app: App, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not self._is_complete:
                self._is_gone = True
            return message

        async def sent(message: Message) -> None:
            try:
                await send(message)
            except OSError:  # how a server says that nobody is there any more
                self._is_gone = True
                raise
            self._note(message)

        try:
            await app(self._scope, received, sent)
        except Exception as error:
            if not (self._is_complete or self._is_gone):
                self._fail(error)
            raise
        finally:
            if not self._is_complete:
                self._conclude()

    def _note(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message["type"] == "http.response.body":
            if message.get("body"):
                self.turn.first_byte()
            if not message.get("more_body", False):
                self._is_complete = True
                # Here, and not at the end of the block: what the application does in the
                # background after its response is no part of the turn.
                self._conclude()
                self.turn.end()

    def _fail(self, error: Exception) -> None:
        # Whoever is further out answers 500, and the block notes the exception's own name.
        self.turn.set_default(endpoint=self._endpoint(), http_status=self._status or 500)
        if self._capture_errors:
            self._producer.capture_exception(error, handled=False)

    def _conclude(self) -> None:
        status, endpoint = self._status, self._endpoint()
        self.turn.set_default(endpoint=endpoint)
        if status:
            self.turn.set_default(http_status=status)
        if self._is_gone:
            self.turn.set_default(status="cancelled")
        elif status in _STATUSES or status >= 500:
            ended = _STATUSES.get(status, "error")
            self.turn.set_default(status=ended, error_type=f"HTTP {status}")
        if status in _SECURITY:
            told = f"{self._scope['method']} {endpoint}"
            self._producer.security(_SECURITY[status], "blocked", detail=told)

    def _endpoint(self) -> str:
        """Returns the template of the route that took the request, as far as frameworks tell."""
        scope = self._scope
        path, root_path = str(scope["path"]), str(scope.get("root_path", ""))
        route, mounted = scope.get("route"), root_path.removeprefix(self._root_path)
        regex, template = getattr(route, "path_regex", None), getattr(route, "path", None)
        if regex is None or not isinstance(template, str) or hasattr(route, "routes"):
            if mounted:  # an application under a path of its own, which tells no more
                return mounted
            return UNMATCHED if self._status in (404, 405) else ""
        path = path.removeprefix(self._root_path)
        # The template is the part below whatever the route's router was put under.
        for at in (i for i, character in enumerate(path) if character == "/"):
            if regex.match(path[at:]):
                return self._without_values(path[:at]) + template
        return template

    def _without_values(self, prefix: str) -> str:
        names = {str(value): name for name, value in self._scope.get("path_params", {}).items()}
        parts = (f"{{{names[part]}}}" if part in names else part for part in prefix.split("/"))
        return "/".join(parts)
