"""ClickHouse's errors: code, name, text, and the HTTP status that a server gives each.

ClickHouseError    what a client is told: `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`
EndpointError      what an operator is told: the process cannot start or go on
"""

import re

__all__ = ["ClickHouseError", "EndpointError", "engine_error", "error_body", "http_status"]

# The codes that this package raises itself; those of the engine pass through.
CODES = {
    "NOT_IMPLEMENTED": 48,
    "SYNTAX_ERROR": 62,
    "UNKNOWN_TYPE_OF_QUERY": 78,
    "READONLY": 164,
    "TOO_MANY_SIMULTANEOUS_QUERIES": 202,
    "QUERY_IS_TOO_LARGE": 229,
    "CANNOT_DECOMPRESS": 271,
    "INTO_OUTFILE_NOT_ALLOWED": 358,
    "SESSION_IS_LOCKED": 373,
    "INVALID_SESSION_TIMEOUT": 374,
    "QUERY_WAS_CANCELLED": 394,
    "ACCESS_DENIED": 497,
    "AUTHENTICATION_FAILED": 516,
    "UNKNOWN_EXCEPTION": 1002,
}

# As ClickHouse's exceptionCodeToHTTPStatus; every other code is a 500.
_STATUS = {
    # REQUIRED_PASSWORD
    194: 401,
    # UNKNOWN_USER, WRONG_PASSWORD, ACCESS_DENIED, SET_NON_GRANTED_ROLE, AUTHENTICATION_FAILED
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    # The text of a statement or of its data cannot be read, or its values do not fit.
    **dict.fromkeys((6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123), 400),
    **dict.fromkeys((167, 168, 223, 321, 376, 427, 441, 675, 676), 400),
    # UNKNOWN_: function, identifier, type, storage, table, aggregate function, format, …
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    # QUERY_IS_TOO_LARGE
    229: 413,
    # UNSUPPORTED_MEDIA_TYPE
    779: 415,
    # NOT_IMPLEMENTED
    48: 501,
    # CANNOT_OPEN_FILE, SOCKET_TIMEOUT, CANNOT_SCHEDULE_TASK
    **dict.fromkeys((76, 209, 439), 503),
    # HTTP_LENGTH_REQUIRED
    381: 411,
    # TIMEOUT_EXCEEDED
    159: 408,
    # A server answers 500 here; clients retry a 503, and that is what a full queue asks for.
    CODES["TOO_MANY_SIMULTANEOUS_QUERIES"]: 503,
}

# `Code: 60. DB::Exception: …`, the kind of exception varies (`DB::ErrnoException`).
_ENGINE_ERROR = re.compile(r"Code: (\d+)\. (DB::\w+: .*)", re.DOTALL)
_VERSION = re.compile(r" \(version [\d.]+(?: \([^)]*\))?\)")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)\s*$")
# `DB::Exception: Code: 27. DB::Exception: … (NAME). (NAME)`: thrown twice, told once.
_NESTED = re.compile(r"DB::\w+: Code: \d+\. (DB::\w+: .*\(([A-Z0-9_]+)\))\. \(\2\)", re.DOTALL)
# The engine reads a spooled body from a file; where that lies is no client's business.
_SPOOL_FILE = re.compile(r":? \(in file/uri [^)]*\)")


class EndpointError(Exception):
    """The endpoint cannot start or go on; the message says what to do."""


class ClickHouseError(Exception):
    """An error as a ClickHouse server words it."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(code, name, text)
        self.code = code
        self.name = name
        self.text = text

    @classmethod
    def named(cls, name: str, message: str) -> "ClickHouseError":
        """Makes one of the errors of ``CODES``."""
        return cls(CODES[name], name, f"DB::Exception: {message}. ({name})")

    def __str__(self) -> str:
        return f"Code: {self.code}. {self.text}"


def engine_error(message: str) -> ClickHouseError:
    """Reads what chDB raised; text that is not ClickHouse's becomes UNKNOWN_EXCEPTION."""
    found = _ENGINE_ERROR.search(message)
    if found is None:
        return ClickHouseError.named("UNKNOWN_EXCEPTION", message.strip() or "no message")
    text = _SPOOL_FILE.sub("", _VERSION.sub("", found[2])).strip()
    while nested := _NESTED.fullmatch(text):
        text = nested[1]
    text = text.replace("data for INSERT was parsed from file", "data for INSERT was parsed")
    name = _NAME.search(text)
    return ClickHouseError(int(found[1]), name[1] if name else "", text)


def error_body(error: ClickHouseError, version: str) -> bytes:
    """The response body, byte for byte in the server's form."""
    return f"{error} (version {version} (official build))\n".encode(errors="replace")


def http_status(code: int) -> int:
    """The HTTP status that goes with an error code."""
    return _STATUS.get(code, 500)
