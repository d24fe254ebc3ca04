"""What can end a worker on purpose.

``WorkerError``
├── ``RulesError``       the alert rules cannot be used: a person has to correct them
├── ``StateError``    the persisted state is of another version or another log
└── ``MissedRecordsError``      the consumer jumped over records that are still in the log
"""

__all__ = ["REBUILD", "MissedRecordsError", "RulesError", "StateError", "WorkerError"]

REBUILD = (
    "stop all workers, then `backchannel rebuild`, then start them (with up: `backchannel up "
    "--rebuild`)"
)
"""How the states are made anew, for the end of a sentence."""


class WorkerError(Exception):
    """The worker cannot go on; the message says why and what to do."""


class RulesError(WorkerError):
    """The alert rules cannot be used. The message names file, rule, field and fix."""


class StateError(WorkerError):
    """The persisted state cannot be read here. The message says how to rebuild it."""


class MissedRecordsError(WorkerError):
    """Records were jumped over that the log still has. A restart reads them again."""
