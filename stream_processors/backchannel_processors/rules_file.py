"""The rules file of a running worker: read again when it changes, kept as it was when it is bad."""

from pathlib import Path

from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.rules import Rules, parse_rules, read_rules_text

__all__ = ["RulesFile"]


class RulesFile:
    """A rules file, and the newest good rules that were ever in it.

    Raises:
        RulesError: there are no good rules to begin with.
    """

    def __init__(self, path: Path, groupings: Groupings) -> None:
        self.path = path
        self.rejected = 0
        """How often a change was bad, and the old rules were kept."""
        self._groupings = groupings
        self._told = ""
        self._text = self.text = read_rules_text(path)
        """What was read last, and what ``rules`` are made of."""
        self.rules = parse_rules(self._text, groupings, source=str(path))

    def look(self) -> Rules | None:
        """Reads the file; returns the rules if they are other ones now.

        It is small, so it is read whole: the time of a file says too little on some file systems,
        and a mounted ConfigMap is replaced rather than written.

        Raises:
            RulesError: the file has changed and is bad, told once for each change. ``rules`` stay
                as they are.
        """
        try:
            text = read_rules_text(self.path)
            if text == self._text:
                return None
            self._text = text
            self.rules = parse_rules(text, self._groupings, source=str(self.path))
        except RulesError as error:
            # A file that cannot be read, for the moment of being replaced too, is told like any
            # other change: once, and again when it is readable and bad.
            if str(error) != self._told:
                self._told = str(error)
                self.rejected += 1
                raise
            return None
        self._told = ""
        self.text = text
        return self.rules
