"""Who sees which variant: a salted hash decides, so that nothing has to be asked or stored."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from backchannel.millionths import millionths

__all__ = ["Exposures", "variant_of"]

_EXPOSURES_MAX = 65_536


def variant_of(
    experiment: str, unit: str, weights: Mapping[str, Any] | Sequence[str], salt: str = ""
) -> str:
    """Returns the variant of an experiment that a unit (a user, a conversation) sees.

    A pure function: the same in every process, and for ever while experiment, salt and weights stay
    the same; two experiments divide the same units independently. ``weights`` are shares of any
    scale by variant, or names for equal shares; their order does not matter. Another salt deals
    anew. Empty when there is nothing to choose from.
    """
    shares = _shares(weights)
    total = sum(shares.values())
    if not total:
        return ""
    digest = sha256(b"\0".join(_bytes(part) for part in (salt, experiment, unit))).digest()
    point = int.from_bytes(digest[:8], "big") * total >> 64
    for variant, share in sorted(shares.items()):
        if point < share:
            return variant
        point -= share
    raise AssertionError("a point lies below the sum of all shares")


class Exposures:
    """Which exposures were told already: the newest 65,536. An older one is told again, which does
    no harm, since exposures are counted by unit."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._lock = threading.RLock()  # a finalizer may assign in the middle of an assign

    def first(self, experiment: str, unit: str, variant: str) -> bool:
        """Notes an exposure; returns whether it is the first one."""
        key = (experiment, unit, variant)
        with self._lock:
            if key in self._told:
                self._told.move_to_end(key)
                return False
            self._told[key] = None
            if len(self._told) > _EXPOSURES_MAX:
                self._told.popitem(last=False)
            return True


def _shares(weights: Mapping[str, Any] | Sequence[str]) -> dict[str, int]:
    if isinstance(weights, Mapping):
        shares = {str(name): millionths(weight) or 0 for name, weight in weights.items()}
    else:
        shares = {str(name): 1 for name in weights}
    return {name: share for name, share in shares.items() if share > 0}


def _bytes(part: Any) -> bytes:
    return str(part).encode("utf-8", "surrogatepass")
