"""User ids as keyed hashes: who has the key can find a user's events, who has not cannot."""

import hmac
import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["Pseudonyms"]

_DIGITS = 32  # 128 bits: no two users of one bot share them
_REMEMBERED = 8_192
_PSEUDONYM = re.compile(r"hmac:[A-Za-z0-9_.-]{1,32}:[0-9a-f]{32}")


class Pseudonyms:
    """Makes ``hmac:<key id>:<32 hexadecimal digits>`` of an id: HMAC-SHA-256, cut to 128 bits.

    The same id has the same pseudonym wherever the key is the same, so that distinct users,
    conversations and budgets come out as without it. The key id says which key it was, once keys
    change; if none is given it follows from the key. What is a pseudonym already stays as it is.
    """

    __slots__ = ("key_id", "of")

    def __init__(self, key: str, key_id: str = "") -> None:
        secret = key.encode()
        self.key_id: str = key_id or hmac.digest(secret, b"backchannel key id", "sha256").hex()[:8]
        prefix = f"hmac:{self.key_id}:"

        def of(identity: str) -> str:
            if not identity or _PSEUDONYM.fullmatch(identity):
                return identity
            return prefix + hmac.digest(secret, identity.encode(), "sha256").hex()[:_DIGITS]

        self.of: Callable[[str], str] = lru_cache(maxsize=_REMEMBERED)(of)
        """Returns the pseudonym of an id. Remembers the newest 8,192, since a user comes back."""
