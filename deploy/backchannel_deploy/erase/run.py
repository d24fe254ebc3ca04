"""An erasure from the request to the proof. Every step may be repeated; what is done is noted."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from backchannel.clock import Clock
from backchannel.events import Tombstone
from backchannel.events.topics import ALERTS, CONTENT, DEAD, EVENTS, METRICS
from backchannel_deploy.erase import tables
from backchannel_deploy.erase.proof import SigningKey, completion
from backchannel_deploy.erase.seams import ControlTopic, StoredLog
from backchannel_deploy.erase.subject import Subject
from backchannel_deploy.erase.sums import keep_sums
from backchannel_deploy.errors import UserError

__all__ = ["TAKEN_IN_S", "Erased", "Eraser"]

TAKEN_IN_S = 5.0
"""After this every sink has read the request: it follows chat.control, asking every second."""
_STORED_TIMEOUT_S = 60.0
_APPLIED_TIMEOUT_S = 60.0
_ASK_S = 0.5
_ROUNDS_MAX = 5
"""How often what came in between is removed, too; beyond, somebody is told."""

_STORED = (EVENTS, CONTENT, DEAD, METRICS, ALERTS)


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of it."""

    tombstone: Tombstone
    removed: Mapping[str, int]
    """Rows by table."""
    was_done: bool
    """It was erased before, and there was nothing new."""
    old_parts: int
    """Parts that were rewritten and lie on the disk for some minutes more."""


class Eraser:
    """Does it, over one connection to Kafka and one to ClickHouse."""

    def __init__(
        self,
        client: Client,
        control: ControlTopic,
        log: StoredLog,
        key: SigningKey,
        time_bounds: dict[str, int],
        clock: Clock,
        *,
        tell: Callable[[str], None] = lambda _: None,
        taken_in_s: float = TAKEN_IN_S,
        kept_ms: int = 0,
    ) -> None:
        """``kept_ms`` is for how long Kafka may keep what it has."""
        self._client = client
        self._control = control
        self._log = log
        self._key = key
        self._time_bounds = time_bounds
        self._clock = clock
        self._tell = tell
        self._taken_in_s = taken_in_s
        self._kept_ms = kept_ms

    async def erase(self, subject: Subject, requested_by: str) -> Erased:
        """Erases somebody, or goes on with an erasure that was begun.

        Raises:
            UserError: the sink is behind, or rows keep coming in; asked again it goes on.
        """
        tombstone, steps = await self._begun(subject)
        if tombstone is None:
            now_us = self._clock.now_us()
            tombstone = Tombstone(
                erasure_id=subject.erasure_id(now_us),
                subject=subject.kind,
                keys=subject.keys,
                requested_at_us=now_us,
                requested_by=requested_by,
            )
            tombstone = self._without_plain_id(tombstone)
            done = await self._done(subject)
            if done is not None and not tables.count(self._client, tombstone):
                return done
            await self._control.say(tombstone)
        self._tell(
            f"{tombstone.erasure_id}: asked for, sinks and workers leave it out from now on."
        )
        if "requested" not in steps:
            tables.note(self._client, tombstone, "requested", self._clock.now_us())
        if "applied" not in steps:
            await self._wait_until_applied()
            tables.note(self._client, tombstone, "applied", self._clock.now_us())
        removed = await self._remove(tombstone, steps)
        if budgets := await self._control.forget_budgets(tombstone):
            self._tell(f"{budgets:,} records of budgets taken back.")
        return self._complete(tombstone, removed)

    def _without_plain_id(self, tombstone: Tombstone) -> Tombstone:
        """The record stays for ever: beside pseudonyms it names the plain id only if a row does."""
        plain, *pseudonyms = tombstone.keys
        named = tombstone.model_copy(update={"keys": (plain,)})
        if not pseudonyms or tables.count(self._client, named):
            return tombstone
        return tombstone.model_copy(update={"keys": tuple(pseudonyms)})

    async def _begun(self, subject: Subject) -> tuple[Tombstone | None, dict[str, tables.Noted]]:
        """Returns the erasure of the subject that was begun and is not completed."""
        noted = self._steps()
        for tombstone in reversed(await self._of(subject)):
            steps = noted.get(tombstone.erasure_id, {})
            if "completed" not in steps:
                return tombstone, steps
        return None, {}

    async def _done(self, subject: Subject) -> Erased | None:
        """Returns the last erasure that was completed."""
        noted = self._steps()
        for tombstone in reversed(await self._of(subject)):
            completed = noted.get(tombstone.erasure_id, {}).get("completed")
            if completed is not None:
                parts = tables.old_parts(self._client)
                return Erased(tombstone, completed.removed, was_done=True, old_parts=parts)
        return None

    async def _of(self, subject: Subject) -> list[Tombstone]:
        return [
            each
            for each in await self._control.tombstones()
            if each.subject == subject.kind and set(subject.keys) & set(each.keys)
        ]

    def _steps(self) -> dict[str, dict[str, tables.Noted]]:
        found: dict[str, dict[str, tables.Noted]] = {}
        for each in tables.noted(self._client):
            found.setdefault(each.erasure_id, {})[each.step] = each
        return found

    async def _remove(
        self, tombstone: Tombstone, steps: Mapping[str, tables.Noted]
    ) -> dict[str, int]:
        """Keeps sums and places, then deletes; again for what came in between."""
        client, removed = self._client, Counter[str]()
        for number in range(1, _ROUNDS_MAX + 1):
            kept, deleted = _step("kept", number), _step("deleted", number)
            if kept in steps:
                rows: Mapping[str, int] = steps[kept].removed
            else:
                await self._wait_until_stored()
                rows = tables.count(client, tombstone)
                if number > 1 and not rows:
                    return dict(removed)
                self._keep(tombstone, number)
                tables.note(client, tombstone, kept, self._clock.now_us(), removed=rows)
            removed.update(rows)
            if deleted not in steps:
                self._tell(f"{sum(rows.values()):,} rows to remove ({', '.join(rows) or 'none'}).")
                if rows:
                    await asyncio.to_thread(tables.remove, client, tombstone)
                tables.note(client, tombstone, deleted, self._clock.now_us(), removed=rows)
            if not tables.count(client, tombstone):
                return dict(removed)
        raise UserError(
            "Rows of the subject keep coming in. Is every sink of a version that leaves them out? "
            "Asked again, it goes on."
        )

    def _keep(self, tombstone: Tombstone, number: int) -> None:
        tables.keep_places(self._client, tombstone)
        # Under a name of each round: sums that are written again replace those of the same name.
        named = tombstone.model_copy(
            update={"erasure_id": _step(tombstone.erasure_id, number).replace(" ", ".")}
        )
        keep_sums(self._client, named, self._time_bounds, self._clock.now_us())

    async def _wait_until_applied(self) -> None:
        """Returns when the workers have let go of the subject: what they tell of it from then on is
        what happened after the request."""
        self._tell("Waiting until the workers have let go of it.")
        deadline_us = self._clock.monotonic_us() + round(_APPLIED_TIMEOUT_S * 1e6)
        while waiting := await self._control.unapplied():
            if self._clock.monotonic_us() >= deadline_us:
                raise UserError(
                    f"{waiting:,} partitions of the stream have not let go of it: does a worker "
                    "run, of this version? Nothing was removed so far. Asked again, it goes on."
                )
            await asyncio.sleep(_ASK_S)

    async def _wait_until_stored(self) -> None:
        """Returns when every record is stored that a sink may have read before the request."""
        self._tell("Waiting until everything that Kafka has is stored.")
        await asyncio.sleep(self._taken_in_s)
        wanted = await self._log.ends(_STORED)
        deadline_us = self._clock.monotonic_us() + round(_STORED_TIMEOUT_S * 1e6)
        while waiting := await self._log.not_stored(wanted):
            if self._clock.monotonic_us() > deadline_us:
                raise UserError(
                    f"{waiting:,} records of before the request are not stored yet: is a sink "
                    "running? Nothing was removed so far. Asked again, it goes on."
                )
            await asyncio.sleep(_ASK_S)

    def _complete(self, tombstone: Tombstone, removed: Mapping[str, int]) -> Erased:
        now_us = self._clock.now_us()
        record = completion(
            tombstone.erasure_id,
            tombstone.subject,
            tombstone.keys,
            tombstone.requested_at_us,
            now_us,
            now_us + self._kept_ms * 1_000,
            removed,
        )
        tables.note(
            self._client,
            tombstone,
            "completed",
            now_us,
            removed=removed,
            record=record,
            key_id=self._key.name,
            signature=self._key.sign(record),
        )
        return Erased(tombstone, removed, was_done=False, old_parts=tables.old_parts(self._client))


def _step(name: str, number: int) -> str:
    return name if number == 1 else f"{name} {number}"
