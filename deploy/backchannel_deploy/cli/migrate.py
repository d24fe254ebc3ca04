"""`backchannel migrate`: topics and tables, as an explicit step."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

__all__ = ["migrate"]


def migrate(
    *, partitions: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1_000))] = None
) -> None:
    """Create the topics and tables that are not there yet. Safe to repeat.

    Where no price is loaded, the published ones that came with the package are.

    Kafka and ClickHouse are those of BACKCHANNEL_KAFKA and BACKCHANNEL_CLICKHOUSE, else of the
    `backchannel up` that runs here. Where a topic that exists has other settings, that is told
    and left as it is. Topics get the brokers' default replication.

    Parameters
    ----------
    partitions
        How many the topics are created with, 12 unless it is said: as many workers can share the
        work. chat.events is given more if it has fewer, while no worker runs. Also
        BACKCHANNEL_PARTITIONS.
    """
    import asyncio

    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.connect import find_clickhouse, find_kafka
    from backchannel_deploy.partitions import PartitionSettings
    from backchannel_deploy.prepare import prepare_and_tell

    with checked():
        chosen = partitions or PartitionSettings().partitions
    told = asyncio.run(prepare_and_tell(find_kafka(), find_clickhouse(), partitions=chosen))
    for sentence in told or ["Nothing to do: every topic and table is there."]:
        print(sentence)
