"""After the machine itself has stopped: stores again what ClickHouse has lost and Kafka has."""

import structlog

from backchannel.clock import SYSTEM_CLOCK
from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.verify.run import Order, verify
from backchannel_deploy.verify.verdict import judge

__all__ = ["recover"]

_LOOK_BACK_S = 8 * 86_400
"""What Kafka may still hold is not older than this: its retention is 7 days."""

log = structlog.get_logger("backchannel.recover")


async def recover(kafka: str, clickhouse: str) -> None:
    """Looks at all offsets before a sink runs, repairs what can be, and logs the rest.

    Raises:
        UserError: one of them gives no answer.
    """
    since_s = SYSTEM_CLOCK.now_us() // 1_000_000 - _LOOK_BACK_S
    order = Order(kafka, clickhouse, None, since_s, repair=True)
    with connected(clickhouse) as client:
        checked = await verify(client, order, SYSTEM_CLOCK)
    log.info("offsets_verified", stored=checked.offsets.stored, again=checked.stored_again)
    for finding in judge(checked):
        # What waits for the sink is as it should be: it has not started yet.
        if finding.verdict == "wrong" and finding.subject != "sink":
            log.error("offsets_disagree", told=finding.told, advice=finding.advice)
