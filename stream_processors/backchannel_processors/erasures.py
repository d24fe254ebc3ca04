"""Who was erased, as the states of the stream need to know it. Pure.

A request covers what happened up to the moment it was made: of a series that names the subject
every window that began by then, of conversations those that began by then. What came later is of
somebody new. So an erasure may be applied again, at any time, to any state: it takes the same.
"""

from collections.abc import Iterable

from backchannel.events import Tombstone
from backchannel_processors.groupings import Dims

__all__ = ["Erasures"]

_NOBODY = -1
_SERIES_OF = frozenset(("tenant", "user"))
"""Subjects that series may name."""


class Erasures:
    """Everybody who was erased. One for a worker, and its agents read it."""

    def __init__(self, erased: Iterable[Tombstone] = ()) -> None:
        self._ids: set[str] = set()
        self._asked_us: dict[tuple[str, str], int] = {}
        """When the erasure of each name of a subject was last asked for."""
        self._places: dict[str, tuple[tuple[int, str], ...]] = {}
        """Where the dims of a grouping name a subject."""
        for each in erased:
            self.add(each)

    def __len__(self) -> int:
        """How many erasures there are."""
        return len(self._ids)

    def add(self, tombstone: Tombstone) -> None:
        """Takes in one more; again is harmless."""
        self._ids.add(tombstone.erasure_id)
        for key in tombstone.keys:
            known = (tombstone.subject, key)
            self._asked_us[known] = max(
                self._asked_us.get(known, _NOBODY), tombstone.requested_at_us
            )

    def asked_us(self, grouping: str, dims: Dims) -> int:
        """Returns when the erasure of whom a series names was asked for; -1 for never."""
        if not self._asked_us:
            return _NOBODY
        places = self._places.get(grouping)
        if places is None:
            named = enumerate(grouping.split(","))
            places = tuple((at, name) for at, name in named if name in _SERIES_OF)
            self._places[grouping] = places
        asked = [self._asked_us.get((name, dims[at]), _NOBODY) for at, name in places]
        return max(asked, default=_NOBODY)

    def covers(self, grouping: str, dims: Dims, at_us: int) -> bool:
        """Says whether what a series did at ``at_us`` is of somebody who was erased."""
        return at_us <= self.asked_us(grouping, dims)

    def covers_conversation(
        self, tenant_id: str, conversation_id: str, users: Iterable[str], at_us: int
    ) -> bool:
        """Says whether a conversation that began at ``at_us`` is of somebody who was erased."""
        if not self._asked_us:
            return False
        subjects = [("tenant", tenant_id), ("conversation", conversation_id)]
        subjects += [("user", user) for user in users]
        return any(at_us <= self._asked_us.get(each, _NOBODY) for each in subjects)
