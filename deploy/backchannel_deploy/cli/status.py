"""`backchannel status`: how the running pipeline is."""

__all__ = ["status"]


def status(*, json: bool = False) -> int:
    """Say who is behind, how fresh the tables are, what was lost and what fires.

    Kafka and ClickHouse are those of BACKCHANNEL_KAFKA and BACKCHANNEL_CLICKHOUSE, else of the
    `backchannel up` that runs here. Exit code 1 when something does not work until somebody mends
    it; what is wrong with the set-up itself says `backchannel doctor`.

    Parameters
    ----------
    json
        One JSON object: healthy, findings, status.
    """
    import asyncio
    import json as encoder
    from dataclasses import asdict

    from rich.console import Console

    from backchannel_deploy.doctor.report import print_findings
    from backchannel_deploy.status import ask, judge

    found = asyncio.run(ask())
    findings = judge(found)
    healthy = all(each.verdict != "wrong" for each in findings)
    if json:
        told = {"healthy": healthy, "findings": [asdict(each) for each in findings]}
        print(encoder.dumps({**told, "status": asdict(found)}, indent=2))
    else:
        print_findings(findings, Console(highlight=False, soft_wrap=True))
    return 0 if healthy else 1
