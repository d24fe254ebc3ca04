"""The file that says whom to tell, followed while the notifier runs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backchannel.following.file import FollowedFile
from backchannel_sinks.notifier.errors import PlanError
from backchannel_sinks.notifier.outlet import Sender
from backchannel_sinks.notifier.plan import Plan

__all__ = ["PlanFile", "Senders"]

Senders = Callable[[Plan], dict[str, Sender]]
"""Returns the way to each target of a plan.

Raises:
    PlanError: there is no way to one of them.
"""


@dataclass(frozen=True, slots=True)
class _Way:
    plan: Plan
    senders: dict[str, Sender]


class PlanFile:
    """The newest good plan that ever was in the file, and the ways to its targets.

    What stands in the environment is read anew with the file, but nobody can change the
    environment of a running process: a new variable needs a new start.

    Raises:
        PlanError: there is none to begin with. The message holds no secret.
    """

    def __init__(self, path: Path, senders: Senders) -> None:
        self._senders = senders
        self._file = FollowedFile(path, lambda text: self._way(text, path), PlanError)

    @property
    def plan(self) -> Plan:
        return self._file.value.plan

    @property
    def senders(self) -> dict[str, Sender]:
        return self._file.value.senders

    @property
    def version(self) -> str:
        """SHA-256 of the text, shortened."""
        return hashlib.sha256(self._file.text.encode()).hexdigest()[:16]

    @property
    def refused(self) -> str:
        """Why what stands in the file now is not in force; empty when it is."""
        return self._file.refused

    def look(self) -> bool:
        """Reads the file; says whether there is another plan now.

        Raises:
            PlanError: the file has changed and is bad, told once for each change.
        """
        return self._file.look() is not None

    def _way(self, text: str, path: Path) -> _Way:
        plan = Plan.parse(text, path)
        if not plan.target:
            raise PlanError(
                f"{path}: nobody to tell; name a target (an example: backchannel notifier --help)"
            )
        return _Way(plan, self._senders(plan))
