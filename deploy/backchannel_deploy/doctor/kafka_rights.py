"""What this user may not do in Kafka. Only what can be asked without doing it."""

from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    TopicAuthorizationFailedError,
)

from backchannel_deploy.doctor.finding import Finding
from backchannel_processors.topics import APP_ID

__all__ = ["REFUSALS", "check_rights", "without_right"]

REFUSALS = (ClusterAuthorizationFailedError, TopicAuthorizationFailedError)
"""What a broker says to somebody whom it knows and does not let do something."""

_GROUPS = {"worker": APP_ID, "sink": "backchannel-sink", "notifier": "backchannel-notifier"}
"""The usual group of each role; a setting may name another one."""

_ADD = "kafka-acls.sh --bootstrap-server … --add --allow-principal User:…"


async def check_rights(admin: AIOKafkaAdminClient, hidden: Sequence[str]) -> list[Finding]:
    """Returns which of the ``hidden`` topics and which groups this user may not use.

    Raises:
        aiokafka.errors.KafkaError: Kafka gives no answer.
    """
    findings = []
    if hidden:
        findings.append(
            Finding(
                "rights",
                "warning",
                f"This user may not see {', '.join(hidden)}.",
                "A bot needs to write chat.events, workers and sinks all of them: "
                f"{_ADD} --operation Read --operation Write --operation DescribeConfigs "
                "--resource-pattern-type prefixed --topic chat. --topic backchannel-",
            )
        )
    refused = [role for role, group in _GROUPS.items() if await _is_refused(admin, group)]
    if refused:
        findings.append(
            Finding(
                "rights",
                "warning",
                f"This user may not join the group of a {', '.join(refused)}.",
                f"A bot needs none; for the others: {_ADD} --operation Read "
                "--resource-pattern-type prefixed --group backchannel-",
            )
        )
    return findings


def without_right(error: Exception) -> Finding:
    """Returns that something could not be looked at."""
    cluster = isinstance(error, ClusterAuthorizationFailedError)
    resource = "--cluster" if cluster else "--topic chat. --resource-pattern-type prefixed"
    return Finding(
        "rights",
        "warning",
        f"This user may not read the settings of {'the brokers' if cluster else 'the topics'}, so "
        "they were not looked at.",
        f"The pipeline does without; for doctor: {_ADD} --operation DescribeConfigs {resource}",
    )


async def _is_refused(admin: AIOKafkaAdminClient, group: str) -> bool:
    try:
        await admin.find_coordinator(group)
    except GroupAuthorizationFailedError:
        return True
    except GroupCoordinatorNotAvailableError:
        pass  # a fresh Kafka has none yet
    return False
