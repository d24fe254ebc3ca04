"""`backchannel alerts tail`: alerts as they are decided."""

import asyncio
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

__all__ = ["tail"]


def tail(
    *,
    from_start: bool = False,
    format: Annotated[Literal["text", "json"], Parameter(alias="-f")] = "text",  # noqa: A002
) -> None:
    """Print alerts as they come, until Ctrl-C.

    Kafka is the one of BACKCHANNEL_KAFKA, else of the `backchannel up` that runs here.

    Parameters
    ----------
    from_start
        Begin with the last known state of every alert there ever was.
    format
        A line for people, or the record's own JSON.
    """
    asyncio.run(_tail(from_start=from_start, as_json=format == "json"))


async def _tail(*, from_start: bool, as_json: bool) -> None:
    from pydantic import ValidationError

    from backchannel.events import Alert
    from backchannel.events.topics import ALERTS
    from backchannel_deploy.cli.alert_line import alert_line
    from backchannel_deploy.listen import Listener

    console = Console(highlight=False)
    notes = Console(highlight=False, stderr=True)
    last_seen: dict[str, int] = {}
    async with Listener([ALERTS.name], from_start=from_start) as listener:
        notes.print(f"Listening to {ALERTS.name}. Ctrl-C ends.", style="dim")
        async for record in listener:
            if record.value is None:  # of somebody who was erased
                last_seen.pop((record.key or b"").decode("utf-8", "replace"), None)
                continue
            try:
                alert = Alert.model_validate_json(record.value)
            except ValidationError:
                notes.print("A record that is no alert was skipped.", style="yellow")
                continue
            if alert.transition <= last_seen.get(alert.alert_id, 0):
                continue  # a repetition
            last_seen[alert.alert_id] = alert.transition
            if as_json:
                print(record.value.decode(), flush=True)
            else:
                console.print(alert_line(alert), soft_wrap=True)
