"""Which events are kept when not all are: whole conversations, the same ones everywhere.

An event is kept for certain (weight 1), or with its whole conversation: one conversation in n
(weight n). Which of the two is a property of the event alone, never of the draw, so each event's
weight is 1 on average over all salts: counts and sums of ``weight × value`` have no bias.
"""

from functools import lru_cache
from hashlib import blake2b

from backchannel.events import Envelope, Erasure, ErrorEvent, Event, Health, Marker, Security
from backchannel.shaping.encoding import Fields
from backchannel.shaping.stamps import Stamps

__all__ = ["NEVER_SAMPLED", "WEIGHT_MAX", "Sampling"]

NEVER_SAMPLED: tuple[type[Event], ...] = (Health, Marker, Security, Erasure)
"""What is rare, and means something by itself."""

WEIGHT_MAX = 1_000_000
"""Largest ``sample_weight`` of the contract."""

_NO_ERROR = frozenset({"ok", "cancelled", "blocked"})
_KEYS = ("conversation_id", "session_id", "user_id", "trace_id")
_REMEMBERED = 16_384


class Sampling:
    """Keeps one conversation in ``one_in``. The same ``salt`` keeps the same ones in any process.

    An event without a conversation goes by its session, else its user, its trace, or itself.
    ``keep_errors`` keeps every event that ended in an error; ``keep_slow_us`` every one that took
    that long (0 for none).
    """

    __slots__ = ("_draw", "_keep_errors", "_keep_slow_us", "_one_in")

    def __init__(
        self, one_in: int, *, salt: str = "", keep_errors: bool = True, keep_slow_us: int = 0
    ) -> None:
        self._one_in = one_in
        self._keep_errors = keep_errors
        self._keep_slow_us = keep_slow_us
        seed = blake2b(salt.encode(), digest_size=16).digest()

        def draw(key: str) -> bool:
            drawn = blake2b(key.encode(), digest_size=8, key=seed).digest()
            return int.from_bytes(drawn, "big") % one_in == 0

        self._draw = lru_cache(maxsize=_REMEMBERED)(draw)

    def weight(self, model: type[Envelope], fields: Fields, stamps: Stamps) -> int:
        """Returns for how many events this one stands; 0 when it is left out."""
        if model in NEVER_SAMPLED or self._is_kept_for_certain(model, fields):
            return 1
        if not self._draw(stamps.first(_KEYS, fields) or fields["event_id"]):
            return 0
        return self._one_in

    def _is_kept_for_certain(self, model: type[Envelope], fields: Fields) -> bool:
        if self._keep_errors and (
            model is ErrorEvent or fields.get("status", "ok") not in _NO_ERROR
        ):
            return True
        slow_us = self._keep_slow_us
        return slow_us > 0 and fields.get("duration_us", 0) >= slow_us
