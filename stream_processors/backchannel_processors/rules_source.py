"""Which alert rules are in force in a running worker: those that were pushed, else its file's.

What is pushed stands on ``chat.control``, where every worker reads it: two of them cannot differ.
The newest push that fits this worker is in force; while there is one, the file is not looked at.
"""

from contextlib import suppress
from pathlib import Path

from backchannel.events import RulesPush
from backchannel.following.file import FollowedFile
from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.rules import Rules, parse_rules

__all__ = ["PUSHES_MAX", "RulesSource"]

PUSHES_MAX = 8
"""Pushes that are remembered, to go back to when a newer one does not fit this worker."""


class RulesSource:
    """The rules in force, which ``look`` changes alone.

    Raises:
        RulesError: the file has no good rules to begin with.
    """

    def __init__(self, path: Path, groupings: Groupings) -> None:
        self._groupings = groupings
        self._file = FollowedFile(
            path, lambda text: parse_rules(text, groupings, source=str(path)), RulesError
        )
        self._pushes: dict[str, RulesPush] = {}
        self._is_news = False
        self._rejected = 0
        self._refused = ""
        self.push: RulesPush | None = None
        """Where the rules come from; ``None`` for the file."""
        self.rules = self._file.value
        self.text = self._file.text

    @property
    def rejected(self) -> int:
        """How often new rules were bad, and the old ones were kept."""
        return self._rejected + self._file.rejected

    @property
    def refused(self) -> str:
        """Why the newest rules are not in force; empty when they are."""
        return self._refused or ("" if self.push else self._file.refused)

    def take(self, push: RulesPush) -> None:
        """Notes what was pushed; the next ``look`` decides on it."""
        self._pushes.pop(push.rules_hash, None)
        self._pushes[push.rules_hash] = push
        if len(self._pushes) > PUSHES_MAX:
            del self._pushes[next(iter(self._pushes))]
        self._is_news = True

    def look(self) -> Rules | None:
        """Returns the rules that are in force from now on, if they are other ones.

        What was pushed or stands in the file now and is bad is counted once for each change as
        ``rejected``; what was good before stays in force.
        """
        before = self.rules.hash
        if self._is_news:
            self._choose()
        if self.push is None:
            with suppress(RulesError):  # it is counted, and the file says why
                self._file.look()
            self.rules, self.text = self._file.value, self._file.text
        return self.rules if self.rules.hash != before else None

    def _choose(self) -> None:
        """Takes up the newest push that fits this worker."""
        self._is_news = False
        self._refused = ""
        self.push = None
        for push in reversed(self._pushes.values()):
            if push.is_withdrawal:
                return
            try:
                source = f"rules pushed by {push.pushed_by or 'somebody'}"
                self.rules = parse_rules(push.text, self._groupings, source=source)
            except RulesError as error:
                if not self._refused:
                    self._refused = str(error)
                    self._rejected += 1
                continue
            self.push, self.text = push, push.text
            return
