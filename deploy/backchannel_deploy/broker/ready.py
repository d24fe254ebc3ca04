"""Waits until a broker answers."""

import asyncio

from backchannel_deploy.broker.errors import BrokerNotReadyError

POLL_S = 0.05


async def wait_until_ready(bootstrap: str, timeout_s: float) -> None:
    """Return once the first of ``bootstrap`` answers a metadata request with a live broker.

    Raises `BrokerNotReadyError` after ``timeout_s`` seconds.
    """
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    try:
        async with asyncio.timeout(timeout_s):
            # The port first: the client logs an error for every connection that is refused.
            await _wait_for_port(host.strip("[]"), int(port))
            while not await _has_live_broker(bootstrap):  # noqa: ASYNC110 -- it is not our process
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise BrokerNotReadyError(
            f"The Kafka broker at {bootstrap} did not answer within {timeout_s:g} seconds."
        ) from None


async def _wait_for_port(host: str, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(POLL_S)
            continue
        writer.close()
        return


async def _has_live_broker(bootstrap: str) -> bool:
    # The client is slow to import; most who import this package only ask where things are.
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="backchannel-ready")
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    # A KRaft broker opens its port before the controller lets it serve: until then it lists none.
    return bool(cluster["brokers"])
