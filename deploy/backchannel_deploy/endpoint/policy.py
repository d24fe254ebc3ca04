"""What a client may not ask, because it would reach beyond the tables.

A loopback port is open to every user of the machine; the engine has this process's rights.
Most of it the engine refuses by itself: its one user lacks the grants (see `layout`).
This is the rest: what needs no grant, or what belongs to the embedded engine's own client.
"""

from collections.abc import Iterator
from itertools import pairwise

from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.statement import leading_verb
from backchannel_deploy.endpoint.tokens import Token, UnterminatedError, tokenize

__all__ = ["check_reader", "check_statement"]

# `file` the table function needs a grant, `file` the scalar function does not. `eval` runs SQL that
# is a string here. `python` and `arrowstream` read this process's own objects.
_FUNCTIONS = frozenset({"arrowstream", "eval", "executable", "file", "filecluster", "python"})
# Engines that need no grant, and run programs or take a path of their own.
_ENGINES = frozenset(
    {
        "arrowstream",
        "embeddedrocksdb",
        "executable",
        "executablepool",
        "filelog",
        "python",
        "queryrunner",
    }
)
# Files, programs or the network when a dictionary loads, whoever asks it.
_DICTIONARY_SOURCES = frozenset({"CLICKHOUSE", "NULL"})


def check_statement(sql: bytes) -> None:
    """Passes a statement that stays within the tables.

    Raises:
        ClickHouseError: the statement reaches for files or programs, drops the database that every
            connection starts in, or is more than one statement.
    """
    try:
        tokens = list(tokenize(sql))
    except UnterminatedError:
        # Not left to the engine: what we cannot read we cannot have checked.
        raise ClickHouseError.named(
            "SYNTAX_ERROR", "Syntax error: a quote or a comment is not closed"
        ) from None
    _check_single(tokens)
    for first, second in pairwise(tokens):
        if first.is_word("INTO") and second.is_word("OUTFILE"):
            raise ClickHouseError.named("INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
        if first.is_word("FROM") and second.is_word("INFILE"):
            raise ClickHouseError.named(
                "UNKNOWN_TYPE_OF_QUERY", "Query has infile and was send directly to server"
            )
        if second.text == b"(" and first.kind in ("word", "quoted"):
            _check_function(first)
    _check_clauses(tokens)


def check_reader(sql: bytes) -> None:
    """Passes what somebody may ask who only reads. What they may see is the engine's to say.

    Raises:
        ClickHouseError: the statement ends those of others, or takes another role: to the engine
            all statements are of one user.
    """
    verb = leading_verb(sql)
    if verb in ("KILL", "SET"):
        raise _denied(verb)


def _check_single(tokens: list[Token]) -> None:
    for token, following in pairwise(tokens):
        if token.kind == "symbol" and token.text == b";" and following.text != b";":
            raise ClickHouseError.named(
                "SYNTAX_ERROR",
                f"Syntax error (Multi-statements are not allowed): failed at position {token.end}",
            )


def _check_function(token: Token) -> None:
    # A backslash could spell a name in many ways; no function's name needs one.
    if token.name.lower() in _FUNCTIONS or (token.kind == "quoted" and b"\\" in token.text):
        raise _denied(f"function {token.name}")


def _check_clauses(tokens: list[Token]) -> None:
    for position, token in enumerate(tokens):
        if token.is_word("ENGINE"):
            name = next(_skip(tokens, position + 1, "="), None)
            if name and name.name.lower() in _ENGINES:
                raise _denied(f"table engine {name.name}")
        elif token.is_word("SOURCE") and tokens[position + 1 : position + 2]:
            name = next(_skip(tokens, position + 1, "("), None)
            opened = tokens[position + 1].text == b"("
            if opened and name and name.name.upper() not in _DICTIONARY_SOURCES:
                raise _denied(f"dictionary source {name.name}")
        elif token.is_word("DATABASE", "SCHEMA") and position:
            verb = tokens[position - 1]
            names = [t.name for t in tokens[position + 1 : position + 4]]
            if verb.is_word("DROP", "DETACH", "RENAME") and "default" in names:
                raise _denied("dropping the database `default`")


def _skip(tokens: list[Token], position: int, symbol: str) -> Iterator[Token]:
    return (token for token in tokens[position:] if token.text != symbol.encode())


def _denied(what: str) -> ClickHouseError:
    return ClickHouseError.named("ACCESS_DENIED", f"default: Not enough privileges: {what}")
