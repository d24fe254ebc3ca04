"""The workers' consumer group, for what may be done only while none of them runs."""

import asyncio
from contextlib import suppress

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.errors import UserError
from backchannel_processors.topics import APP_ID

__all__ = ["wait_until_no_worker_runs"]

_PATIENCE_S = 20.0
"""One that has a slot and was stopped is a member until its session times out, 10 s by default."""
_LOOK_AGAIN_S = 0.5


async def wait_until_no_worker_runs(admin: AIOKafkaAdminClient, why: str, *, with_up: str) -> None:
    """Waits a little, for those that were stopped just now. ``why`` says what must wait for it,
    ``with_up`` by which command an `up` does it.

    Raises:
        UserError: there are workers still.
        aiokafka.errors.KafkaError: Kafka is away, or refuses this user.
    """
    members = 0
    for _ in range(round(_PATIENCE_S / _LOOK_AGAIN_S)):
        # The first question after groups makes a fresh Kafka create the place where it keeps them.
        with suppress(GroupCoordinatorNotAvailableError):
            if not (members := await _members(admin)):
                return
        await asyncio.sleep(_LOOK_AGAIN_S)
    raise UserError(
        f"{why} while no worker runs, and {counted(members, 'worker')} of the group {APP_ID} "
        f"{'runs' if members == 1 else 'run'}. Stop all of them, then do this again; what bots "
        f"send meanwhile waits. Where it is that of a `backchannel up`: stop it, then {with_up}"
    )


async def _members(admin: AIOKafkaAdminClient) -> int:
    (answer,) = await admin.describe_consumer_groups([APP_ID])
    return len(answer.groups[0][5])
