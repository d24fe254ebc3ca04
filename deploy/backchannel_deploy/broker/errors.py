"""What can go wrong between an empty cache and a running broker.

BrokerError                 a sentence for a person: what is missing and what to do
├── JavaNotFoundError       no Java 17 or newer on this machine
├── JarsUnavailableError    the broker's jars are neither cached nor reachable, or stay broken
├── FetchCancelledError     the caller asked the download to stop
├── FormatError             the data directory could not be prepared
└── BrokerNotReadyError     the broker did not answer in time
"""

from backchannel_deploy.errors import UserError


class BrokerError(UserError):
    """Base of this package's errors; the message is meant to be shown as it is."""


class JavaNotFoundError(BrokerError):
    """There is no Java runtime that can run the broker."""


class JarsUnavailableError(BrokerError):
    """The pinned jars could not be had, or do not have the pinned content."""


class FetchCancelledError(BrokerError):
    """The download was stopped by its caller; nothing half-done is left behind."""


class FormatError(BrokerError):
    """Kafka's storage tool refused to prepare the data directory."""


class BrokerNotReadyError(BrokerError):
    """The broker did not answer a metadata request within the time given."""
