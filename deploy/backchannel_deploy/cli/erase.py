"""`backchannel erase`: forget somebody, with a proof."""

from typing import TYPE_CHECKING

from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from rich.table import Table

    from backchannel_deploy.erase.run import Erased
    from backchannel_deploy.erase.settings import ErasureSettings
    from backchannel_deploy.erase.subject import Subject
    from backchannel_deploy.erase.tables import Noted

__all__ = ["erase"]


def erase(
    *,
    user: str = "",
    tenant: str = "",
    conversation: str = "",
    status: bool = False,
    check: bool = False,
    by: str = "",
) -> int:
    """Forget a user, a tenant or a conversation: from every table, physically, for good.

    Writes the request on chat.control, from where sinks and workers know whom to leave out of
    whatever is sent again; removes the rows and reads that none is left; signs a completion record
    with BACKCHANNEL_ERASURE_KEY. Sums stay: windows and bills do not shrink. What was killed goes
    on when it is asked for again; what happens after the request stays.

    Parameters
    ----------
    user
        The user's id as the bot knows it. Pseudonyms are found with BACKCHANNEL_USER_ID_KEY and
        BACKCHANNEL_FORMER_USER_ID_KEYS (name=key,name=key).
    tenant
        A tenant.
    conversation
        A conversation.
    status
        Only show how far erasures have come: of the one named, else of everybody.
    check
        Only check signatures, and that no row is there again. Exit code 1 when something is wrong.
    by
        Who asks for it; without it the user of this machine.
    """
    import asyncio
    import getpass

    from rich.console import Console

    from backchannel_deploy.cli.clickhouse import connected
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.doctor.report import print_findings
    from backchannel_deploy.erase import check as checking
    from backchannel_deploy.erase import tables
    from backchannel_deploy.erase.settings import ErasureSettings

    with checked():
        settings = ErasureSettings()
    subject = _subject(user, tenant, conversation, settings)
    console = Console(highlight=False, soft_wrap=True)
    with connected() as client:
        if status or check:
            noted = checking.of_subject(tables.noted(client), subject)
            if status:
                console.print(_status(noted))
                return 0
            findings = checking.check(client, noted, settings.signing_key)
            print_findings(findings, console)
            return int(any(each.verdict == "wrong" for each in findings))
        if subject is None:
            raise UserError("Whom? Name one of --user, --tenant, --conversation.")
        done = asyncio.run(_erase(client, subject, settings, by or getpass.getuser()))
    _tell(done)
    return 0


async def _erase(
    client: "Client", subject: "Subject", settings: "ErasureSettings", by: str
) -> "Erased":
    from backchannel.clock import SYSTEM_CLOCK
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.connect import find_kafka
    from backchannel_deploy.control import desk
    from backchannel_deploy.erase.retention import kept_ms, personal_topics, too_long
    from backchannel_deploy.erase.run import Eraser
    from backchannel_deploy.verify.log import opened_log
    from backchannel_processors.settings import WorkerSettings

    key = settings.signing_key
    if key is None:
        raise UserError(
            "A completion record is signed, and there is no key: set BACKCHANNEL_ERASURE_KEY "
            "(openssl rand -hex 32) and keep it, or nobody can check the record later."
        )
    with checked():
        worker = WorkerSettings()
    bounds = {"ahead_s": worker.clock_ahead_s, "behind_s": worker.clock_behind_s}
    async with desk() as at, opened_log(find_kafka()) as log:
        kept = await log.settings(personal_topics())
        for topic, days in too_long(kept, settings.erasure_days).items():
            print(
                f"Attention: {topic} keeps records for {days:g} days, {settings.erasure_days} are "
                "promised (BACKCHANNEL_ERASURE_DAYS). Shorten its retention.ms."
            )
        eraser = Eraser(
            client, at, log, key, bounds, SYSTEM_CLOCK, tell=print, kept_ms=kept_ms(kept)
        )
        return await eraser.erase(subject, by)


def _subject(
    user: str, tenant: str, conversation: str, settings: "ErasureSettings"
) -> "Subject | None":
    from backchannel_deploy.erase.subject import Subject, user_keys

    if sum(map(bool, (user, tenant, conversation))) > 1:
        raise UserError("Name only one of --user, --tenant, --conversation.")
    if user:
        return Subject("user", user_keys(user, settings.user_id_keys))
    if tenant:
        return Subject("tenant", (tenant,))
    return Subject("conversation", (conversation,)) if conversation else None


def _tell(done: "Erased") -> None:
    from backchannel_deploy.cli.amounts import counted

    rows = ", ".join(f"{n:,} of {table}" for table, n in done.removed.items()) or "no row"
    if done.was_done:
        print(f"{done.tombstone.erasure_id}: was erased before ({rows}), and nothing is there.")
    else:
        print(f"{done.tombstone.erasure_id}: erased, {rows}; the completion record is signed.")
    if done.old_parts:
        print(f"{counted(done.old_parts, 'old part')} leave the disk within some minutes.")


def _status(noted: "list[Noted]") -> "Table | str":
    from datetime import UTC, datetime

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    last = {each.erasure_id: each for each in sorted(noted, key=lambda each: each.at_us)}
    if not last:
        return "Nobody was erased."
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("erasure", "subject", "keys", "requested", "by", "step", "at", "removed"):
        table.add_column(title, overflow="fold")
    for each in last.values():
        instants = [
            f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S}"
            for us in (each.requested_at_us, each.at_us)
        ]
        removed = f"{sum(each.removed.values()):,}"
        keys = ", ".join(each.keys)
        table.add_row(
            *(each.erasure_id, each.subject, keys, instants[0], each.requested_by),
            *(each.step, instants[1], removed),
        )
    return table
