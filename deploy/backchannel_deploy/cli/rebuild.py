"""`backchannel rebuild`: the workers' states, counted anew."""

__all__ = ["rebuild", "rebuild_states"]


def rebuild() -> None:
    """Have the workers count their states anew from chat.events: after an upgrade that cannot read
    the old ones, or when a topic was made anew. Stop all workers first, start them afterwards.

    What is stored stays. The windows since midnight (UTC) are counted once more and come out the
    same; alerts are decided again when the workers have caught up, and none is told of what is
    long over. With `backchannel up`: stop it, then `backchannel up --rebuild`.

    Kafka is the one of BACKCHANNEL_KAFKA. Reads the settings of a worker, as the workers have them.
    """
    import asyncio

    from backchannel_deploy.connect import find_kafka

    print(asyncio.run(rebuild_states(find_kafka())))


async def rebuild_states(kafka: str) -> str:
    """Does it, and returns in sentences what the workers will do.

    Raises:
        UserError: workers run, or Kafka gives no answer.
    """
    import logging
    from datetime import UTC, datetime

    from aiokafka.errors import KafkaError

    from backchannel.clock import SYSTEM_CLOCK
    from backchannel.security import KafkaSecurity
    from backchannel_deploy import rebuild
    from backchannel_deploy.cli.amounts import counted
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.errors import UserError
    from backchannel_processors.settings import WorkerSettings

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it has to say is said here
    with checked():
        settings = WorkerSettings(kafka=kafka)
        security = KafkaSecurity.from_env().aiokafka()
    try:
        recount = await rebuild.rebuild(
            kafka, clock=SYSTEM_CLOCK, settings=settings, security=security
        )
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        raise UserError(
            f"Kafka at {kafka} does not do it ({type(error).__name__}). "
            "What is wrong with it: backchannel doctor. Then do this again."
        ) from error
    since = datetime.fromtimestamp(recount.from_ms / 1_000, UTC)
    return (
        f"The states are gone. Workers that start now count the windows since {since:%Y-%m-%d} "
        f"(UTC) anew, from {counted(recount.records, 'record')}; `backchannel status` says how far "
        "they are."
    )
