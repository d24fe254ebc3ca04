"""`backchannel alerts list|show|silence|ack`: what fires, and what somebody says to it."""

import asyncio
import getpass
import json
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from backchannel_deploy.cli.amounts import instant
from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from backchannel.events import Ack, Alert, Silence

__all__ = ["ack", "list_alerts", "show_alert", "silence"]

_SECOND_US = 1_000_000
_SEVERITIES = {"critical": 0, "error": 1, "warning": 2, "info": 3}


def list_alerts(
    *,
    all: bool = False,  # noqa: A002 -- the option's name
    audit: bool = False,
    format: Annotated[Literal["table", "json"], Parameter(alias="-f")] = "table",  # noqa: A002
) -> None:
    """Print what fires now, the worst first, who takes care of it, and what is silenced.

    Parameters
    ----------
    all
        Also alerts that are over.
    audit
        Every silence and acknowledgement instead: who said what, when and why.
    format
        A table for people, or a JSON object a line.
    """
    asyncio.run(_audit(format) if audit else _list(format, with_over=all))


def show_alert(
    alert_id: str,
    /,
    *,
    format: Annotated[Literal["text", "json"], Parameter(alias="-f")] = "text",  # noqa: A002
) -> None:
    """Print all of one alert: what tipped it, events that show what it is about, the evidence.

    Parameters
    ----------
    alert_id
        Its id, or the beginning of it, as `backchannel alerts list` prints it.
    format
        Lines for people, or the record's own JSON.
    """
    asyncio.run(_show(alert_id, as_json=format == "json"))


def silence(
    rule: str = "",
    /,
    *,
    where: Annotated[dict[str, str] | None, Parameter(alias="-w")] = None,
    severity: Literal["", "info", "warning", "error", "critical"] = "",
    for_: Annotated[str, Parameter(name="--for")] = "2h",
    comment: Annotated[str, Parameter(alias="-m")] = "",
    by: str = "",
    end: str = "",
) -> None:
    """Have nobody told of some alerts for a while. They are decided and stored all the same.

    Parameters
    ----------
    rule
        Name of a rule; without it every rule.
    where
        Values of dimensions: --where.tenant acme
    severity
        Only alerts of this severity.
    for_
        How long: 30m, 2h, 1d12h.
    comment
        Why; it stays in the audit log.
    by
        Who; without it the user of this machine.
    end
        Id of a silence to end now, instead of a new one.
    """
    asyncio.run(_end(end, by) if end else _silence(rule, where or {}, severity, for_, comment, by))


def ack(
    alert_id: str, /, *, comment: Annotated[str, Parameter(alias="-m")] = "", by: str = ""
) -> None:
    """Say that somebody takes care of an alert: it is not escalated any more.

    Parameters
    ----------
    alert_id
        Its id, or the beginning of it, as `backchannel alerts list` prints it.
    comment
        What is done; it stays in the audit log.
    by
        Who; without it the user of this machine.
    """
    asyncio.run(_ack(alert_id, comment, by))


async def _list(form: str, *, with_over: bool) -> None:
    from backchannel.events import Ack, Silence
    from backchannel_deploy.cli.tables import for_people, text_table
    from backchannel_deploy.control import desk
    from backchannel_processors.durations import duration_text

    async with desk() as at:
        alerts, controls = await at.alerts(), await at.controls()
    now_us = _now_us()
    acks = [each for each in controls if isinstance(each, Ack)]
    silences = [each for each in controls if isinstance(each, Silence)]
    chosen = sorted(
        (alert for alert in alerts.values() if with_over or alert.state == "firing"),
        key=lambda alert: (alert.state, _SEVERITIES[alert.severity], -alert.starts_at_us),
    )
    if form == "json":
        for alert in chosen:
            care = _care(alert, acks, silences, now_us)
            print(json.dumps(alert.model_dump(mode="json") | {"care": care}))
        return
    rows = [
        (
            alert.alert_id[:8],
            _state(alert),
            instant(alert.starts_at_us),
            duration_text(((alert.ends_at_us or now_us) - alert.starts_at_us) // _SECOND_US),
            alert.severity,
            alert.rule,
            " ".join(f"{name}={value}" for name, value in alert.dims.items()),
            alert.annotations.get("summary", ""),
            _care(alert, acks, silences, now_us),
        )
        for alert in chosen
    ]
    names = ("id", "state", "since", "for", "severity", "rule", "series", "what", "care")
    for_people().print(text_table(names, rows) if rows else "Nothing fires.")


async def _show(alert_id: str, *, as_json: bool) -> None:
    from rich.console import Console

    from backchannel.events import Ack, Silence
    from backchannel_deploy.cli.alert_line import alert_line
    from backchannel_deploy.control import desk

    async with desk() as at:
        alert = _the_one(list((await at.alerts()).values()), alert_id, "list --all")
        controls = await at.controls()
    if as_json:
        print(alert.model_dump_json())
        return
    acks = [each for each in controls if isinstance(each, Ack)]
    silences = [each for each in controls if isinstance(each, Silence)]
    console = Console(highlight=False, soft_wrap=True)
    console.print(alert_line(alert))
    facts = {
        "id": f"{alert.alert_id}, transition {alert.transition}",
        "since": instant(alert.starts_at_us),
        "over": f"{instant(alert.ends_at_us)} ({alert.reason})" if alert.ends_at_us else "",
        "care": _care(alert, acks, silences, _now_us()),
        "trigger": f"{alert.trigger_event_id} at {instant(alert.trigger_event_at_us)}",
        "events": "\n".join(alert.exemplars),
        **alert.annotations,
    }
    for name, told in facts.items():
        for number, line in enumerate(told.splitlines()):
            console.print(f"{'' if number else name:<10}", line, markup=False)


def _the_one(alerts: list["Alert"], alert_id: str, shown_by: str) -> "Alert":
    """Returns the alert whose id begins like that.

    Raises:
        UserError: there is none, or there are several.
    """
    found = [alert for alert in alerts if alert.alert_id.startswith(alert_id)]
    if len(found) != 1:
        several = "Several alerts begin" if found else "No alert begins"
        raise UserError(f"{several} with {alert_id!r}. See: backchannel alerts {shown_by}")
    return found[0]


def _state(alert: "Alert") -> str:
    if alert.state == "firing":
        return "firing (flaps)" if alert.flapping else "firing"
    return "no data" if alert.reason == "no_data" else "resolved"


def _care(alert: "Alert", acks: list["Ack"], silences: list["Silence"], now_us: int) -> str:
    by = [each for each in acks if each.is_of(alert)]
    over = [each for each in silences if each.covers(alert, now_us)]
    told = [f"taken by {each.by}" for each in by]
    told += [f"silenced until {instant(each.ends_at_us)} by {each.created_by}" for each in over]
    return "; ".join(told)


async def _audit(form: str) -> None:
    from backchannel.events import Silence
    from backchannel_deploy.cli.tables import for_people, text_table
    from backchannel_deploy.control import desk

    async with desk() as at:
        controls = await at.controls()
    if form == "json":
        for each in controls:
            print(each.model_dump_json())
        return
    rows = []
    for each in controls:
        if isinstance(each, Silence):
            ended = f", ended by {each.ended_by}" if each.ended_by else ""
            what = f"silenced {_covered(each)} until {instant(each.ends_at_us)}{ended}"
            row = (each.silence_id, each.created_at_us, each.created_by)
        else:
            what = f"took alert {each.alert_id[:8]}, transition {each.transition}"
            row = (each.alert_id[:8], each.at_us, each.by)
        rows.append((row[0], instant(row[1]), row[2], what, each.comment))
    told = text_table(("id", "at", "by", "what", "comment"), rows)
    for_people().print(told if rows else "Nobody has said anything yet.")


def _covered(silence: "Silence") -> str:
    parts = [silence.rule, silence.severity]
    parts += [f"{name}={value}" for name, value in (silence.dims | silence.labels).items()]
    return " ".join(part for part in parts if part) or "everything"


async def _silence(
    rule: str,
    where: dict[str, str],
    severity: Literal["", "info", "warning", "error", "critical"],
    duration: str,
    comment: str,
    by: str,
) -> None:
    from backchannel.events import Silence, new_event_id
    from backchannel_deploy.control import desk
    from backchannel_processors.durations import parse_duration

    try:
        length_s = parse_duration(duration)
    except ValueError as error:
        raise UserError(f"--for: {error}") from error
    now_us = _now_us()
    said = Silence(
        silence_id=new_event_id()[-12:],
        rule=rule,
        severity=severity,
        dims=where,
        starts_at_us=now_us,
        ends_at_us=now_us + length_s * _SECOND_US,
        created_at_us=now_us,
        created_by=by or getpass.getuser(),
        comment=comment,
    )
    async with desk() as at:
        await at.say(said)
    print(
        f"{said.silence_id}: {_covered(said)} is silenced until {instant(said.ends_at_us)}.\n"
        f"To end it before: backchannel alerts silence --end {said.silence_id}"
    )


async def _end(silence_id: str, by: str) -> None:
    from backchannel.events import Silence
    from backchannel_deploy.control import desk

    async with desk() as at:
        known = [
            each
            for each in await at.controls()
            if isinstance(each, Silence) and each.silence_id == silence_id
        ]
        now_us = _now_us()
        if not known or known[0].ends_at_us <= now_us:
            raise UserError(
                f"No silence {silence_id} holds now. See: backchannel alerts list --audit"
            )
        ended = {"ends_at_us": now_us, "ended_by": by or getpass.getuser()}
        await at.say(known[0].model_copy(update=ended))
    print(f"{silence_id}: ended.")


async def _ack(alert_id: str, comment: str, by: str) -> None:
    from backchannel.events import Ack
    from backchannel_deploy.control import desk

    async with desk() as at:
        firing = [alert for alert in (await at.alerts()).values() if alert.state == "firing"]
        alert = _the_one(firing, alert_id, "list")
        said = Ack(
            alert_id=alert.alert_id,
            transition=alert.transition,
            at_us=_now_us(),
            by=by or getpass.getuser(),
            comment=comment,
        )
        await at.say(said)
    print(f"{said.alert_id[:8]}: {alert.rule} is taken care of by {said.by}.")


def _now_us() -> int:
    # Imported late, as everything is that a call for help can do without.
    from backchannel.clock import SYSTEM_CLOCK

    return SYSTEM_CLOCK.now_us()
