"""What happens when, and to whom: two days of load squeezed into a demo, and an incident."""

from dataclasses import dataclass
from math import pi, sin

__all__ = ["SECONDS_MIN", "TENANTS", "TROUBLED_TENANT", "Timeline"]

TENANTS = ("acme", "globex", "initech")
TROUBLED_TENANT = "globex"
"""The tenant that has the incident."""

SECONDS_MIN = 40
"""A shorter demo would end before the incident's alerts are resolved."""

_INCIDENT_AFTER = 0.25
_INCIDENT_SHARE = 0.2
_SWING = 0.35
"""How far the load swings around its mean."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A demo of ``seconds``, measured from its own start."""

    seconds: float

    @property
    def incident_from_s(self) -> float:
        return self.seconds * _INCIDENT_AFTER

    @property
    def incident_until_s(self) -> float:
        return self.incident_from_s + self.seconds * _INCIDENT_SHARE

    def incident(self, at_s: float) -> bool:
        """Says whether the incident is on."""
        return self.incident_from_s <= at_s < self.incident_until_s

    def load(self, at_s: float) -> float:
        """Returns the load as a factor around 1: two days pass, each with its peak."""
        return 1 + _SWING * sin(4 * pi * at_s / self.seconds)
