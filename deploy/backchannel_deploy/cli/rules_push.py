"""`backchannel rules push|withdraw|versions`: one set of alert rules for every worker."""

import asyncio
import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from backchannel_deploy.cli.amounts import instant
from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from backchannel.events import RulesPush, RulesVersion
    from backchannel_deploy.control import Desk

__all__ = ["push", "versions", "withdraw"]

_TAKEN_UP_S = 10.0
_ASK_S = 0.5


def push(
    file: Path, /, *, comment: Annotated[str, Parameter(alias="-m")] = "", by: str = ""
) -> int:
    """Have every worker decide by these rules from now on, instead of those of its file.

    A bad file is refused, and nothing changes. Workers that start later take them up, too.
    Exit code 1 when no worker has taken them up within ten seconds.

    Parameters
    ----------
    file
        A TOML file with the rules.
    comment
        Why; it stays in the log.
    by
        Who; without it the user of this machine.
    """
    return asyncio.run(_push(file, comment, by or getpass.getuser()))


def withdraw(*, comment: Annotated[str, Parameter(alias="-m")] = "", by: str = "") -> None:
    """Give the workers the rules of their own files back.

    Parameters
    ----------
    comment
        Why; it stays in the log.
    by
        Who; without it the user of this machine.
    """
    asyncio.run(_withdraw(comment, by or getpass.getuser()))


def versions(version: str = "", /) -> None:
    """Print every version of the rules that decided anything, or the text of one.

    Parameters
    ----------
    version
        Its hash, or the beginning of it: what `rules_hash` of an alert names.
    """
    asyncio.run(_text(version) if version else _versions())


async def _push(file: Path, comment: str, by: str) -> int:
    from backchannel.clock import SYSTEM_CLOCK
    from backchannel.events import RulesPush
    from backchannel.events.control import RULES_BYTES_MAX
    from backchannel.following.file import read_text
    from backchannel_deploy.cli.rules import worker_groupings
    from backchannel_deploy.control import desk
    from backchannel_processors.errors import RulesError
    from backchannel_processors.groupings import Groupings
    from backchannel_processors.rules import parse_rules

    async with desk() as at:
        known = [each.groupings for each in _in_force(await at.rules()) if each.groupings]
        # What the workers compute, not what this machine's settings say.
        groupings = Groupings.parse(known[-1]) if known else worker_groupings()
        try:
            text = read_text(file, RulesError)
            rules = parse_rules(text, groupings, source=str(file))
        except RulesError as error:
            raise UserError(f"Not pushed. {error}") from error
        if len(text.encode()) > RULES_BYTES_MAX:
            raise UserError(f"Not pushed: {file} is larger than {RULES_BYTES_MAX // 1024} KB.")
        now_us = SYSTEM_CLOCK.now_us()
        await at.say(
            RulesPush(
                rules_hash=rules.hash,
                text=text,
                pushed_at_us=now_us,
                pushed_by=by,
                comment=comment,
            )
        )
        told = f"{file}: {len(rules.all)} rules, version {rules.hash}"
        if await _taken_up(at, rules.hash, now_us):
            print(f"{told}: pushed, and in force. Who follows them: backchannel status")
            return 0
    print(f"{told}: pushed, but no worker has taken them up yet. Look: backchannel status")
    return 1


async def _taken_up(at: "Desk", rules_hash: str, since_us: int) -> bool:
    """Waits until a worker says that it decides by these rules."""
    for _ in range(round(_TAKEN_UP_S / _ASK_S)):
        await asyncio.sleep(_ASK_S)
        for each in _in_force(await at.rules()):
            if each.rules_hash == rules_hash and each.in_force_at_us >= since_us:
                return True
    return False


async def _withdraw(comment: str, by: str) -> None:
    from backchannel.clock import SYSTEM_CLOCK
    from backchannel.events import RulesPush
    from backchannel_deploy.control import desk

    async with desk() as at:
        pushes = _pushes(await at.rules())
        if not pushes or pushes[-1].is_withdrawal:
            raise UserError("No rules are pushed: every worker follows its own file.")
        now_us = SYSTEM_CLOCK.now_us()
        await at.say(RulesPush(pushed_at_us=now_us, pushed_by=by, comment=comment))
    print("Withdrawn: every worker follows its own file again.")


async def _versions() -> None:
    from backchannel_deploy.cli.tables import for_people, text_table
    from backchannel_deploy.control import desk

    async with desk() as at:
        said = await at.rules()
    pushes = {each.rules_hash: each for each in _pushes(said)}
    rows = []
    for each in sorted(_in_force(said), key=lambda each: each.in_force_at_us):
        pushed = pushes.pop(each.rules_hash, None)
        how = _how(pushed) if pushed else ("from a file", "", "")
        rows.append((each.rules_hash, instant(each.in_force_at_us), *how))
    rows += [(left.rules_hash or "withdrawn", "", *_how(left)) for left in pushes.values()]
    names = ("version", "taken up", "pushed", "by", "comment")
    for_people().print(text_table(names, rows) if rows else "Nothing has decided anything yet.")


def _how(push: "RulesPush") -> tuple[str, str, str]:
    return instant(push.pushed_at_us), push.pushed_by, push.comment


async def _text(version: str) -> None:
    from backchannel_deploy.control import desk

    async with desk() as at:
        texts = {each.rules_hash: each.text for each in await at.rules()}
    found = [name for name in texts if name.startswith(version)]
    if len(found) != 1:
        several = "Several versions begin" if found else "No version begins"
        raise UserError(f"{several} with {version!r}. See: backchannel rules versions")
    print(texts[found[0]], end="")


def _pushes(said: "list[RulesPush | RulesVersion]") -> "list[RulesPush]":
    return [each for each in said if each.kind == "rules_push"]


def _in_force(said: "list[RulesPush | RulesVersion]") -> "list[RulesVersion]":
    return [each for each in said if each.kind == "rules"]
