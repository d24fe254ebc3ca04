"""Errors of the notifier.

NotifierError
├── PlanError            the file that says whom to tell is wrong: a person mends it
├── TopicsMissingError   `backchannel migrate` has not been here: again later
└── DeliveryError        a target did not take a message: again later
"""

__all__ = ["DeliveryError", "NotifierError", "PlanError", "TopicsMissingError"]


class NotifierError(Exception):
    """Any error of this package. No message holds an address or a secret of a target."""


class PlanError(NotifierError, ValueError):
    """Names the file, the table, the field and the fix, for every mistake."""


class TopicsMissingError(NotifierError):
    """Says which."""


class DeliveryError(NotifierError):
    """Why, in a few words."""

    def __init__(self, why: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        """What the target asked for; 0 when it said nothing."""
