"""What a start tells the person who waits for it."""

from typing import Protocol

from backchannel_deploy.broker import FetchProgress


class Progress(Protocol):
    """Who is told how far the stack is."""

    def phase(self, text: str) -> None:
        """The next step begins."""
        ...

    def note(self, text: str) -> None:
        """Something worth knowing happened on the way."""
        ...

    def fetched(self, fetched: FetchProgress) -> None:
        """The broker's jars are being downloaded; called from several threads."""
        ...


class Silent:
    """Nobody waits."""

    def phase(self, text: str) -> None:
        """Drop it."""

    def note(self, text: str) -> None:
        """Drop it."""

    def fetched(self, fetched: FetchProgress) -> None:
        """Drop it."""
