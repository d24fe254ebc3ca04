"""SQL text to tokens, as ClickHouse's own lexer sees them: enough to find clauses, not to parse.

Works on bytes, because an INSERT's data, in any encoding, may follow the statement.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Kind", "Token", "UnterminatedError", "tokenize"]

Kind = Literal["word", "quoted", "string", "number", "symbol"]

# Possessive quantifiers keep this linear: an unterminated quote fails at once.
# ClickHouse also takes typographic quotes, in UTF-8, for quotes.
_TOKEN = re.compile(
    rb"""
    (?P<space>(?:[\s\0]|\xc2\xa0|\xe2\x80[\x80-\x8f\xa8\xa9\xaf]|\xe2\x81[\x9f\xa0]|\xe3\x80\x80|\xef\xbb\xbf)++)
  | (?P<comment>--[^\n]*+|\#[ !][^\n]*+)
  | (?P<block>/\*)
  | (?P<string>'(?:[^'\\]++|\\.|'')*+'|\xe2\x80\x98.*?\xe2\x80\x99|\$(?P<tag>\w*+)\$.*?\$(?P=tag)\$)
  | (?P<quoted>`(?:[^`\\]++|\\.|``)*+`|"(?:[^"\\]++|\\.|"")*+"|\xe2\x80\x9c.*?\xe2\x80\x9d)
  | (?P<word>[A-Za-z_][\w$]*+)
  | (?P<number>[0-9][\w.]*+)
  | (?P<open>['`"]|\xe2\x80[\x98\x9c])
  | (?P<symbol>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_BLOCK_EDGE = re.compile(rb"/\*|\*/")


class UnterminatedError(Exception):
    """The text ends inside a quote or a comment."""


@dataclass(frozen=True, slots=True)
class Token:
    """A significant piece of SQL: comments and spaces leave no token."""

    kind: Kind
    text: bytes
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        """Whether this is one of the (upper case) keywords, unquoted."""
        return self.kind == "word" and self.text.decode().upper() in words

    @property
    def name(self) -> str:
        """The identifier that a word or a quoted name stands for."""
        if self.kind != "quoted":
            return self.text.decode(errors="replace")
        body = self.text.decode(errors="replace")[1:-1]
        return re.sub(r'\\(.)|(["`])\2', lambda m: m[1] or m[2], body, flags=re.DOTALL)


def tokenize(sql: bytes, start: int = 0) -> Iterator[Token]:
    """Yields the significant tokens in order.

    Raises:
        UnterminatedError: the text ends within a quote or a block comment.
    """
    position = start
    while position < len(sql):
        found = _TOKEN.match(sql, position)
        assert found is not None  # every byte matches `symbol` at last
        position = found.end()
        match found.lastgroup:
            case "space" | "comment":
                continue
            case "block":
                position = _end_of_block(sql, position)
            case "open":
                raise UnterminatedError
            case "word" | "quoted" | "string" | "number" | "symbol" as kind:
                yield Token(kind, found[0], found.start(), found.end())
            case group:
                raise AssertionError(group)


def _end_of_block(sql: bytes, position: int) -> int:
    # ClickHouse nests block comments.
    depth = 1
    while depth:
        edge = _BLOCK_EDGE.search(sql, position)
        if edge is None:
            raise UnterminatedError
        depth += 1 if edge[0] == b"/*" else -1
        position = edge.end()
    return position
