"""`backchannel doctor`: what is configured, what of it works, what to do about the rest."""

__all__ = ["doctor"]


def doctor(
    *,
    kafka: str | None = None,
    clickhouse: str | None = None,
    all: bool = False,  # noqa: A002 -- the option's name
    json: bool = False,
) -> int:
    """Say what is configured, from where, what can be reached, and what to do about the rest.

    Looks at settings, brokers, topics, ClickHouse, migrations and clocks; changes nothing, shows
    no secret, and takes a minute at most. Exit code 1 when something is wrong.

    Parameters
    ----------
    kafka
        Bootstrap servers, in place of BACKCHANNEL_KAFKA and of the `up` that runs here.
    clickhouse
        ClickHouse's HTTP URL, in place of BACKCHANNEL_CLICKHOUSE and of the `up` that runs here.
    all
        Show the settings that have their defaults, too.
    json
        One JSON object: healthy, findings, settings.
    """
    import asyncio
    import os

    from backchannel.clock import SYSTEM_CLOCK
    from backchannel.environment import from_env_file
    from backchannel_deploy.cli.tables import for_people
    from backchannel_deploy.doctor import as_json, examine, print_report

    found = asyncio.run(
        examine(
            kafka=kafka,
            clickhouse=clickhouse,
            environ=os.environ,
            env_file=from_env_file(),
            clock=SYSTEM_CLOCK,
        )
    )
    if json:
        print(as_json(found))
    else:
        print_report(found, for_people(soft_wrap=True), with_defaults=all)
    return 0 if found.healthy else 1
