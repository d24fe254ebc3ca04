"""Why the stack does not start.

UpError                   a sentence for a person
├── AlreadyRunningError   another `up` owns the data directory
└── StartError            a part of the stack does not come up, or has no place for its data
"""

from backchannel_deploy.errors import UserError


class UpError(UserError):
    """Base of this package's errors; the message is meant to be shown as it is."""


class AlreadyRunningError(UpError):
    """Another ``up`` runs on this data directory."""


class StartError(UpError):
    """A process did not become ready: the message ends with the last lines of its log. Or the data
    directory can't be written."""
