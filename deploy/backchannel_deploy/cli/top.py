"""`backchannel top`: the running pipeline on one screen."""

__all__ = ["top"]


def top(*, by: str = "tenant", once: bool = False) -> None:
    """Show the running pipeline live: traffic, latency, cost, who is behind, what fires.

    Kafka and ClickHouse are those of BACKCHANNEL_KAFKA and BACKCHANNEL_CLICKHOUSE, else of the
    `backchannel up` that runs here. Ctrl-C ends it.

    Parameters
    ----------
    by
        The grouping whose series are listed: one of BACKCHANNEL_GROUPINGS, e.g.
        tenant,endpoint,model.
    once
        Print one picture and end; so it is when the output is no terminal.
    """
    import asyncio

    from rich.console import Console

    from backchannel_deploy.top.run import run_top

    console = Console(highlight=False)
    asyncio.run(run_top(console, by=by, once=once or not console.is_terminal))
