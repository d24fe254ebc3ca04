"""`backchannel dead`: what could not be used, why, and back with it when it is mended."""

import asyncio
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from backchannel.events.topics import EVENTS
from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.cli.output import Format, ask_and_print
from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from backchannel.events import SealedBatch
    from backchannel_deploy.dead.letters import Letter
    from backchannel_deploy.dead.mend import Sorted

__all__ = ["list_letters", "requeue", "show"]

_LIST = """
SELECT letter, at, stage, reason, requeued
FROM v_dead_letters
WHERE positionCaseInsensitiveUTF8(reason, {reason:String}) > 0 AND ({all:Bool} OR NOT requeued)
ORDER BY at DESC, letter
LIMIT {limit:UInt32}
"""

_BY_REASON = """
SELECT count() AS letters, countIf(requeued) AS requeued, topic, stage, reason,
    min(at) AS first_at, max(at) AS last_at
FROM v_dead_letters
WHERE positionCaseInsensitiveUTF8(reason, {reason:String}) > 0
GROUP BY topic, stage, reason
ORDER BY letters DESC, reason
LIMIT {limit:UInt32}
"""


def list_letters(
    *,
    reason: str = "",
    by_reason: bool = False,
    all: bool = False,  # noqa: A002 -- the option's name
    limit: int = 50,
    format: Annotated[Format, Parameter(alias="-f")] = "table",  # noqa: A002 -- the option's name
) -> None:
    """Print the lines that could not be used, the newest first.

    Parameters
    ----------
    reason
        Only those whose reason contains this.
    by_reason
        How many there are of each reason instead; begin here when there are many.
    all
        Also those that were sent back and are stored.
    limit
        At most so many rows.
    format
        How to print it: see `backchannel sql`.
    """
    if limit < 1:
        raise UserError("--limit must be at least 1.")
    parameters = {"reason": reason, "all": all, "limit": limit}
    with connected() as client:
        ask_and_print(client, _BY_REASON if by_reason else _LIST, format, parameters)


def show(letter: str, /, *, line: bool = False) -> None:
    """Print one dead letter: why it was refused, and what it says.

    Parameters
    ----------
    letter
        Its name, as `backchannel dead list` prints it.
    line
        Nothing but the line itself, to be edited: > letter.json
    """
    from backchannel_deploy.dead.letters import letter_named

    with connected() as client:
        found = letter_named(client, letter)
    if found is None:
        raise _unknown(letter)
    if line:
        if not found.whole:
            print("Not as it was: cut, or bytes spelled out that are no UTF-8.", file=sys.stderr)
        print(found.value)
        return
    print(f"{found.name}  {'sent back, and stored' if found.requeued else 'not sent back'}")
    print(f"refused by the {found.stage}: {found.reason}")
    print(found.value)


def requeue(
    *letters: str,
    reason: str = "",
    all: bool = False,  # noqa: A002 -- the option's name
    set_: Annotated[list[str] | None, Parameter(name="--set", alias="-s", negative="")] = None,
    file: Path | None = None,
    dry_run: bool = False,
) -> int:
    """Send dead letters back to chat.events, mended if need be.

    Each is judged first, as the sink would judge it: what is still no event is told and stays where
    it is. A letter counts once, however often it is sent: the second time is nothing. Exit code 1
    when one could not be sent.

    Parameters
    ----------
    letters
        Their names, as `backchannel dead list` prints them.
    reason
        Instead of names: those that were not sent back and whose reason contains this, at most
        5,000 in one run, the oldest first.
    all
        Instead of names: all that were not sent back, at most 5,000 in one run.
    set_
        A field to set in each, e.g. --set status=ok --set duration_us=1200; null takes it away.
    file
        The edited line, for one letter; `backchannel dead show LETTER --line` prints the old one.
    dry_run
        Judge them, and send nothing.
    """
    if bool(letters) + bool(reason) + all != 1:
        raise UserError("Which ones? Give names, or --reason, or --all.")
    if file is not None and len(letters) != 1:
        raise UserError("--file is the line of one letter: give its name.")
    from backchannel_deploy.dead.letters import letters_waiting
    from backchannel_deploy.dead.mend import changes_of, sort_letters

    try:
        changes = changes_of(set_ or [])
        edited = None if file is None else file.read_bytes().strip()
    except ValueError as error:
        raise UserError(f"--set: {error}.") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    with connected() as client:
        chosen = (
            _named(client, letters) if letters else letters_waiting(client, EVENTS.name, reason)
        )
        found = sort_letters(chosen, changes, edited)
    if found.records and not dry_run:
        asyncio.run(_send(found.records))
    return _tell(found, dry_run=dry_run)


def _named(client: "Client", names: Iterable[str]) -> "Iterator[Letter]":
    from backchannel_deploy.dead.letters import letter_named

    for name in dict.fromkeys(names):
        letter = letter_named(client, name)
        if letter is None:
            raise _unknown(name)
        if letter.topic != EVENTS.name:
            raise UserError(f"{name}: only what came from {EVENTS.name} can be sent back.")
        yield letter


def _tell(sorted_: "Sorted", *, dry_run: bool) -> int:
    for sentence in sorted_.told:
        print(sentence, file=sys.stderr)
    if sorted_.refused > len(sorted_.told):
        print(f"… and {sorted_.refused - len(sorted_.told):,} more.", file=sys.stderr)
    print(
        f"{counted(len(sorted_.records), 'letter')} {'would be sent' if dry_run else 'sent'} back, "
        f"{sorted_.refused:,} still no events, {sorted_.stored:,} stored before."
    )
    if sorted_.more:
        print("There are more: run it again when the sink has stored these.")
    return 1 if sorted_.refused else 0


async def _send(records: "Sequence[tuple[int, SealedBatch]]") -> None:
    import logging

    from aiokafka.errors import KafkaError

    from backchannel.security import KafkaSecurity
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.connect import find_kafka
    from backchannel_deploy.dead.send import send_back

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    servers = find_kafka()
    with checked():
        options = {"bootstrap_servers": servers, **KafkaSecurity.from_env().aiokafka()}
    try:
        await send_back(records, options)
    except ValueError as error:
        raise UserError(f"Kafka at {servers}: {error}.") from error
    except (KafkaError, OSError) as error:
        raise UserError(
            f"Kafka at {servers} did not take all of them ({type(error).__name__}). Run it again: "
            "what was sent already counts once."
        ) from error


def _unknown(name: str) -> UserError:
    return UserError(f"There is no dead letter {name}. backchannel dead list shows their names.")
