"""Splits what a client sent into a statement and the data that an INSERT carries.

ClickHouse lets the data follow the statement in the same bytes, `INSERT INTO t FORMAT Native\\n…`,
so where the one ends must be found without ever reading the other as SQL.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, takewhile

from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.tokens import Token, UnterminatedError, tokenize

__all__ = [
    "NEED_MORE",
    "Insert",
    "leading_verb",
    "leaves_something",
    "output_format",
    "split_insert",
]


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose rows come as data: `target` + a source + `settings` + FORMAT `format`."""

    target: bytes
    settings: bytes
    format: str
    data_start: int

    def from_file(self, path: str) -> bytes:
        """The same statement with the data in a file; the path must need no quoting."""
        parts = [
            self.target,
            f"FROM INFILE '{path}' COMPRESSION 'none'".encode(),
            self.settings,
            f"FORMAT {self.format}".encode(),
        ]
        # A line each: the client's text may end in a `--` comment.
        return b"\n".join(part for part in parts if part)


class NeedMore:
    """The bytes so far do not show yet where the statement ends."""


NEED_MORE = NeedMore()


def split_insert(text: bytes, *, complete: bool) -> Insert | NeedMore | None:
    """Finds the end of an INSERT statement that carries data.

    Returns None for every other statement, also for `INSERT … SELECT` and for text that the
    engine will refuse; NEED_MORE when `text` is a beginning (not `complete`) that is too short.

    Raises:
        ClickHouseError: the form is one that cannot be served (`FROM INFILE`, `input()`).
    """
    try:
        found = _scan(tokenize(text) if complete else _settled(text), text)
    except UnterminatedError:
        found = NEED_MORE
    if complete:
        return None if isinstance(found, NeedMore) else found
    if isinstance(found, Insert) and found.data_start >= len(text):
        return NEED_MORE  # a line break before the data may still come
    return found


def output_format(sql: bytes) -> str | None:
    """The format that a `FORMAT` clause at the outermost level names; None without one."""
    depth = 0
    outer: list[Token] = []
    try:
        for token in tokenize(sql):
            depth += _is_symbol(token) and token.text in b"([{"
            if depth == 0:
                outer.append(token)
            depth -= _is_symbol(token) and token.text in b")]}"
    except UnterminatedError:
        return None
    # `format` may also be a column: the clause stands at the end or before these.
    for clause, named, after in zip(outer, outer[1:], [*outer[2:], None], strict=False):
        ends = after is None or after.text == b";" or after.is_word("SETTINGS", "INTO")
        if clause.is_word("FORMAT") and named.kind in ("word", "quoted") and ends:
            return named.name
    return None


def leading_verb(sql: bytes) -> str:
    """What kind of statement this is, in upper case: `SELECT` also for `WITH …`, `FROM …`, `(…`."""
    depth = 0
    with_depth: int | None = None  # after `WITH` come names and expressions until SELECT or INSERT
    try:
        for token in tokenize(sql):
            if _is_symbol(token):
                depth += (token.text == b"(") - (token.text == b")")
            elif with_depth is None and token.is_word("WITH"):
                with_depth = depth
            elif with_depth is None or (
                depth == with_depth and token.is_word("SELECT", "INSERT", "FROM")
            ):
                return "SELECT" if token.is_word("FROM") else token.name.upper()
    except UnterminatedError:
        pass
    return ""


def leaves_something(sql: bytes) -> bool:
    """Whether a session keeps what this statement does: `SET`, `USE`, a temporary table."""
    try:
        words = [token.name.upper() for token in islice(tokenize(sql), 4)]
    except UnterminatedError:
        return False
    return words[:1] in (["SET"], ["USE"]) or (words[:1] == ["CREATE"] and "TEMPORARY" in words)


def _settled(text: bytes) -> Iterator[Token]:
    """The tokens that no further byte can change: three bytes may be one space, or a quote."""
    return takewhile(lambda token: token.end <= len(text) - 3, tokenize(text))


def _scan(tokens: Iterator[Token], text: bytes) -> Insert | NeedMore | None:
    first = next(tokens, None)
    if first is None:
        return NEED_MORE
    if not first.is_word("INSERT"):
        return None
    after = _skip_target(tokens)
    settings_start: int | None = None
    depth, opened = 0, False
    for token in after:
        if _is_symbol(token):
            opened = token.text == b"("
            depth += opened - (token.text == b")")
            if token.text == b";":
                return None
            continue
        if opened and token.is_word("SELECT", "WITH"):
            _refuse_input(after)
            return None
        opened = False
        if depth or token.kind != "word":
            continue
        if token.is_word("SETTINGS") and settings_start is None:
            settings_start = token.start
        elif token.is_word("FROM", "INFILE"):
            raise ClickHouseError.named(
                "UNKNOWN_TYPE_OF_QUERY", "Query has infile and was send directly to server"
            )
        elif token.is_word("SELECT", "WITH", "WATCH"):
            _refuse_input(after)
            return None
        elif token.is_word("FORMAT", "VALUES"):
            return _insert(token, after, text, settings_start)
    return NEED_MORE


def _skip_target(tokens: Iterator[Token]) -> Iterator[Token]:
    """Past `[INTO] [TABLE] [FUNCTION] name[.name]`: a table may be called `values` or `format`."""
    token = next(tokens, None)
    while token and token.is_word("INTO", "TABLE", "FUNCTION"):
        token = next(tokens, None)
    if token is None or _is_symbol(token):  # `{name:Identifier}`
        return chain([token] if token else [], tokens)
    for token in tokens:
        if token.text != b".":
            return chain([token], tokens)
        next(tokens, None)
    return iter(())


def _insert(
    keyword: Token,
    rest: Iterator[Token],
    text: bytes,
    settings_start: int | None,
) -> Insert | NeedMore | None:
    if keyword.is_word("VALUES"):
        name, data_start = "Values", keyword.end
    else:
        named = next(rest, None)
        if named is None:
            return NEED_MORE
        if named.kind not in ("word", "quoted"):
            return None
        name, data_start = named.name, _data_start(text, named.end)
    target_end = keyword.start if settings_start is None else settings_start
    settings = b"" if settings_start is None else text[settings_start : keyword.start].strip()
    return Insert(text[:target_end].strip(), settings, name, data_start)


def _data_start(text: bytes, position: int) -> int:
    """As ClickHouse: blanks after the format's name, then at most one line break."""
    while text[position : position + 1] in (b" ", b"\t", b"\f"):
        position += 1
    if text[position : position + 1] == b"\r":
        position += 1
    if text[position : position + 1] == b"\n":
        position += 1
    return position


def _refuse_input(rest: Iterator[Token]) -> None:
    previous: Token | None = None
    for token in rest:
        if token.text == b"(" and previous and previous.name.lower() == "input":
            # The embedded engine would answer OK and store nothing.
            raise ClickHouseError.named(
                "NOT_IMPLEMENTED", "INSERT SELECT FROM input() is not supported by this endpoint"
            )
        previous = token


def _is_symbol(token: Token) -> bool:
    return token.kind == "symbol"
