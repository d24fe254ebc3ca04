"""`backchannel migrate`: topics and tables, as an explicit step."""

__all__ = ["migrate"]


def migrate() -> None:
    """Create the topics and tables that are not there yet. Safe to repeat.

    Where no price is loaded, the published ones that came with the package are.

    Kafka and ClickHouse are those of BACKCHANNEL_KAFKA and BACKCHANNEL_CLICKHOUSE, else of the
    `backchannel up` that runs here. What exists is never changed; where a topic's settings differ,
    that is told. Topics get the brokers' default replication.
    """
    import asyncio

    from backchannel_deploy.connect import find_clickhouse, find_kafka
    from backchannel_deploy.prepare import prepare_and_tell

    told = asyncio.run(prepare_and_tell(find_kafka(), find_clickhouse()))
    for sentence in told or ["Nothing to do: every topic and table is there."]:
        print(sentence)
