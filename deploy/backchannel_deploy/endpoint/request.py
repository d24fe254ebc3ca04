"""What an HTTP request asks for, read from its URL and headers: pure, no body, no engine."""

import base64
import binascii
import hmac
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backchannel_deploy.endpoint.errors import ClickHouseError

__all__ = ["Credentials", "Request", "read_request", "role_of"]

SESSION_S = 60
SESSION_S_MAX = 3600
# URL parameters that the HTTP interface itself understands; all others are settings.
_INTERFACE = frozenset(
    {
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "close_session",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_zlib_compression_level",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password; the password is never shown."""

    user: str = "default"
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body."""

    query: str = ""
    query_id: str = ""
    database: str = ""
    default_format: str = "TabSeparated"
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    wait_end: bool = False
    session_id: str = ""
    session_s: int = SESSION_S
    content_encoding: str = ""
    accept_encoding: str = ""
    native_answer: bool = False
    """The answer is to be in ClickHouse's own compression."""
    native_body: bool = False
    """The body is."""


def read_request(
    method: str, parameters: Sequence[tuple[str, str]], headers: Mapping[str, str]
) -> Request:
    """Sorts URL parameters and headers into what they mean to ClickHouse.

    Raises:
        ClickHouseError: something is asked for that this endpoint does not do, or that a GET
            may not do.
    """
    url = dict(parameters)
    settings = {k: v for k, v in parameters if k and k not in _INTERFACE and k[:6] != "param_"}
    read_only = method in ("GET", "HEAD")
    if read_only and settings.pop("readonly", "2") == "0":
        raise ClickHouseError.named("READONLY", "Cannot modify 'readonly' setting in readonly mode")
    return Request(
        query=url.get("query", ""),
        query_id=url.get("query_id") or headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4()),
        database=headers.get("X-ClickHouse-Database") or url.get("database", ""),
        default_format=headers.get("X-ClickHouse-Format")
        or url.get("default_format")
        or "TabSeparated",
        settings=settings,
        parameters={k[6:]: v for k, v in parameters if k[:6] == "param_"},
        read_only=read_only,
        session_id=url.get("session_id", ""),
        session_s=_session_s(url.get("session_timeout", str(SESSION_S))),
        wait_end=_flag(url, "wait_end_of_query"),
        content_encoding=headers.get("Content-Encoding", ""),
        # A server compresses only where the URL asks for it, whatever the client accepts.
        accept_encoding=headers.get("Accept-Encoding", "")
        if _flag(url, "enable_http_compression")
        else "",
        native_answer=_flag(url, "compress"),
        native_body=_flag(url, "decompress"),
    )


def role_of(
    users: Mapping[Credentials, str], parameters: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """Returns the role of who asks, empty for the one who may do everything. Compares with every
    user, each in constant time.

    Raises:
        ClickHouseError: not a user, not the password, or two ways of saying who one is.
    """
    given = _credentials(parameters, headers)
    found = None
    for known, role in users.items():
        right_user = hmac.compare_digest(given.user.encode(), known.user.encode())
        right_password = hmac.compare_digest(given.password.encode(), known.password.encode())
        # As a server: who has no password may say any. The JDBC driver says "null" for none.
        if right_user and (right_password or not known.password):
            found = role
    if found is None:
        raise ClickHouseError.named(
            "AUTHENTICATION_FAILED",
            "Authentication failed: password is incorrect, or there is no user with such name",
        )
    return found


def _credentials(parameters: Mapping[str, str], headers: Mapping[str, str]) -> Credentials:
    in_headers = "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers
    in_url = "user" in parameters or "password" in parameters
    basic = headers.get("Authorization")
    if in_headers + in_url + (basic is not None) > 1:
        raise ClickHouseError.named(
            "AUTHENTICATION_FAILED",
            "Invalid authentication: it is not allowed to use two ways of authentication at once",
        )
    if in_headers:
        return Credentials(
            headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
        )
    if basic is not None:
        return _basic(basic)
    return Credentials(parameters.get("user", "default"), parameters.get("password", ""))


def _basic(header: str) -> Credentials:
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise ClickHouseError.named(
            "AUTHENTICATION_FAILED",
            "Invalid authentication: only the Basic HTTP Authorization scheme is supported",
        ) from None
    return Credentials(user, password)


def _session_s(value: str) -> int:
    if not value.isdecimal() or int(value) > SESSION_S_MAX:
        raise ClickHouseError.named(
            "INVALID_SESSION_TIMEOUT",
            f"Invalid session timeout: a number of seconds up to {SESSION_S_MAX} is expected",
        )
    return int(value)


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    return parameters.get(name, "0").lower() not in ("", "0", "false")
