"""Takes events out of the intake, groups them by partition, and sees sealed batches delivered."""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from backchannel.clock import Clock
from backchannel.errors import BrokenError, RefusedError, UnreachableError
from backchannel.events import SealedBatch, partition_of
from backchannel.sending.intake import Intake, Line
from backchannel.sending.lane import Lane, Parcel
from backchannel.sending.outage import Outage
from backchannel.sending.stats import DropReason
from backchannel.sending.transport import Transport
from backchannel.settings import ProducerSettings

if TYPE_CHECKING:
    from backchannel.sending.overflow import Overflow

__all__ = ["Sender"]

_log = logging.getLogger("backchannel")

_ROUTES_MAX = 65_536
"""Keys whose lane is remembered: a hash costs ten times what all else does that is done to deal."""
_DEAL_EVENTS = 128
"""Events moved in one step: some 0.1 ms, so that the bot's threads get their turn in between."""
_SEAL_EVENTS = 160
"""Events sealed in one step, at least: some 0.6 ms with the request that the client makes of them.
A request costs as much as sealing hundreds of events, so a lane alone is too small a step."""
_BACKOFF_S = (0.05, 2.0)
"""First and longest wait between two tries to connect."""
_AWAY_AFTER_S = 5.0
"""Without an answer for this long Kafka counts as away."""
_STALLED_AFTER_S = 30.0
"""Without an answer for this long the connection is made anew: the broker may have come back
under another address, which only the first addresses know. Sending twice is harmless."""
_ANSWERS_LOOK_S = 1.0
"""How often it is looked whether an answer is late: two timers for each batch cost more."""
_SPILL_LOOK_S = 0.05
"""How often memory is looked at, where it may spill to disk."""
_SPILL_RETRY_S = 2.0
"""How long a disk that is full or fails is left alone."""
_ADOPT_S = 30.0
"""How often leftovers of processes that ended meanwhile are looked for."""


class Sender:
    """The core of the producer, in one event loop. ``run`` does the work until it is cancelled."""

    def __init__(
        self, intake: Intake, transport: Transport, settings: ProducerSettings, clock: Clock
    ) -> None:
        self._intake = intake
        self._transport = transport
        self._settings = settings
        self._overflow = _overflow(intake, settings)
        self._lanes: list[Lane] = []
        self._routes: dict[str, Callable[[bytes], None]] = {}
        """Where events with a key are put, of keys that came before."""
        self._outage = Outage(settings.kafka, clock)
        self._awake = asyncio.Event()
        self._hurry_to = 0
        """Events accepted up to here are not to wait for others: somebody flushes."""
        self._progress = asyncio.Event()
        self._partitions = 0
        self._sent_at_s: dict[int, float] = {}
        """Since when the batch of each partition waits for its answer."""
        self._late: set[int] = set()
        """Those partitions whose batch has been waiting for too long."""
        self._told: set[str] = set()
        displaces = settings.on_full == "drop_oldest"
        self._under_way_bytes_max = settings.buffer_bytes_max // (4 if displaces else 1)

    def wake(self) -> None:
        """There is something to do. Only from the sender's own loop."""
        self._awake.set()

    async def run(self) -> None:
        """Connects, sends, connects anew, for as long as it takes. Ends only by cancellation."""
        spilling = asyncio.ensure_future(self._spill(self._overflow)) if self._overflow else None
        try:
            await self._connect_for_ever()
        finally:
            if spilling is not None:
                spilling.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await spilling

    async def _connect_for_ever(self) -> None:
        backoff_s = _BACKOFF_S[0]
        while True:
            settled = self._intake.settled
            try:
                await self._connect_and_send()
            except UnreachableError as error:
                self._outage.began(str(error))
            except Exception as bug:  # noqa: BLE001
                # A bug of ours or of the client's: said aloud, and the bot's events still go out.
                self._say_once("the sender failed and starts anew", _where(bug))
            if self._intake.settled > settled:
                backoff_s = _BACKOFF_S[0]
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_S[1])

    async def flush(self, timeout_s: float) -> int:
        """Waits until all that is accepted by now is settled, for ``timeout_s`` at most.

        Returns how many of those events are not acknowledged.
        """
        accepted, lost = self._intake.accepted, self._intake.lost
        held = accepted - self._intake.settled
        due: list[tuple[Lane, int]] | None = None
        self._hurry_to = accepted
        self._awake.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: self._intake.taken >= accepted)
                # A lane is in order, so these numbers say when all of those events are through.
                due = [(lane, lane.dealt) for lane in self._lanes]
                await self._until(lambda: all(lane.settled >= dealt for lane, dealt in due or ()))
        except TimeoutError:
            pass
        if due is None:  # some are not even dealt, so nothing accepted later is settled
            waiting = accepted - self._intake.settled
        else:
            waiting = sum(max(0, dealt - lane.settled) for lane, dealt in due)
        # Events that came later may have been lost meanwhile, too: those displace the oldest.
        return min(held, max(0, waiting) + self._intake.lost - lost)

    def spill_rest(self) -> None:
        """Writes all that is held to disk, where there is one for it. Nothing is sent after it."""
        if self._overflow is not None:
            self._deal_now()
            self._overflow.spill(self._lanes, under_way=True)

    async def disconnect(self) -> None:
        """Closes the connection; where that fails, it is said, and nothing else changes."""
        try:
            await self._transport.close()
        except Exception as bug:  # noqa: BLE001  # of a transport of the bot's own
            self._say_once("the connection could not be closed", _where(bug))

    def close(self) -> None:
        """Lets go of the disk."""
        if self._overflow is not None:
            self._overflow.close()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._progress.clear()
            await self._progress.wait()

    async def _connect_and_send(self) -> None:
        """Sends over one connection until it breaks.

        Raises:
            UnreachableError: there is no connection.
        """
        self._open_lanes(await self._transport.connect())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._deal_events())
                group.create_task(self._watch_answers())
                for lane in self._lanes[: self._partitions]:
                    group.create_task(self._serve(lane))
        except* BrokenError as broken:
            self._intake.count_reconnect()
            _log.debug("the connection to Kafka is made anew: %s", broken.exceptions[0])
        finally:
            await self.disconnect()

    def _open_lanes(self, partitions: int) -> None:
        self._grow_lanes(partitions)
        for lane in self._lanes[partitions:]:
            # The topic was made anew with fewer partitions: what was meant for the others is lost.
            while not lane.empty:
                self._next(lane)
                self._lose(lane, "refused", "the partition is gone")
        self._partitions = partitions
        self._routes.clear()
        self._intake.connected(partitions)
        if self._overflow is not None:
            self._overflow.note_partitions(partitions)
            self._adopt(self._overflow)
        if all(lane.under_way is None for lane in self._lanes):
            # Else the answer to the batch that is waiting says whether it is over.
            self._outage.ended()

    def _grow_lanes(self, partitions: int) -> None:
        self._lanes += [Lane(number) for number in range(len(self._lanes), partitions)]

    # What memory cannot hold.

    async def _spill(self, overflow: "Overflow") -> None:
        while True:
            try:
                await self._spill_when_full(overflow)
            except Exception as bug:  # noqa: BLE001  # as with sending: said, and gone on
                self._say_once("spilling failed and starts anew", _where(bug))
                await asyncio.sleep(_SPILL_RETRY_S)

    async def _spill_when_full(self, overflow: "Overflow") -> None:
        loop = asyncio.get_running_loop()
        limit = self._settings.buffer_bytes_max // 2
        next_spill_s, next_adoption_s = 0.0, loop.time() + _ADOPT_S
        while True:
            await asyncio.sleep(_SPILL_LOOK_S)
            now_s = loop.time()
            if self._intake.held_bytes > limit and now_s >= next_spill_s:
                self._deal_now()
                if not overflow.spill(self._lanes):
                    next_spill_s = now_s + _SPILL_RETRY_S
            if self._partitions and now_s >= next_adoption_s:
                next_adoption_s = now_s + _ADOPT_S
                self._adopt(overflow)

    def _deal_now(self) -> None:
        """Moves all that the intake has into the lanes, those of an earlier time if need be."""
        if not self._partitions:
            assert self._overflow is not None, (
                "without a disk nobody deals before a broker is there"
            )
            self._partitions = self._overflow.partitions()
            self._routes.clear()
            self._grow_lanes(self._partitions)
        while lines := self._intake.take(_DEAL_EVENTS):
            self._deal(lines)
        self._tell_lanes()

    def _adopt(self, overflow: "Overflow") -> None:
        if overflow.adopt(self._lanes[: self._partitions]):
            self._say_once("an earlier process's batches are lost", "the partition is gone")

    # From the intake into the lanes.

    async def _deal_events(self) -> None:
        while True:
            self._awake.clear()
            if not self._intake.sleep(1):
                await self._awake.wait()
            # While events come the timer alone wakes us: a wake costs the bot's thread a system
            # call. After a whole linger without an event we sleep.
            while await self._linger_and_deal():
                pass

    async def _linger_and_deal(self) -> bool:
        if self._intake.taken >= self._hurry_to:
            self._awake.clear()
            if not self._intake.sleep(self._settings.batch_bytes_max):
                loop = asyncio.get_running_loop()
                timer = loop.call_later(self._settings.linger_ms / 1000, self._awake.set)
                try:
                    await self._awake.wait()
                finally:
                    timer.cancel()
        accepted, before = self._intake.accepted, self._intake.taken
        while (left := accepted - self._intake.taken) > 0:
            if self._intake.under_way_bytes > self._under_way_bytes_max:
                # What the lanes have cannot be displaced any more, so they do not take much.
                self._tell_lanes()
                await self._until(lambda: self._intake.under_way_bytes <= self._under_way_bytes_max)
            self._deal(self._intake.take(min(left, _DEAL_EVENTS)))
            await asyncio.sleep(0)
        # Only now, so that idle lanes find all that has come and seal few and large batches.
        told = 0
        for lane in self._lanes:
            if not lane.empty:
                lane.filled.set()
                told += len(lane.lines)
            if told >= _SEAL_EVENTS:
                told = 0
                await asyncio.sleep(0)  # these seal in a step of their own: see GivingWay
        self._progress.set()
        return self._intake.taken > before

    def _tell_lanes(self) -> None:
        for lane in self._lanes:
            if not lane.empty:
                lane.filled.set()

    def _deal(self, lines: Iterable[Line]) -> None:
        known = self._routes.get
        for key, line in lines:
            put = known(key) or self._route(key)
            put(line)

    def _route(self, key: str) -> Callable[[bytes], None]:
        if len(self._routes) >= _ROUTES_MAX:
            self._routes.clear()
        partition = partition_of(key or self._intake.producer_id, self._partitions)
        self._routes[key] = put = self._lanes[partition].put
        return put

    # From the lanes to the broker.

    async def _serve(self, lane: Lane) -> None:
        while True:
            while lane.empty:
                lane.filled.clear()
                await lane.filled.wait()
            parcel = self._next(lane)
            batch = parcel.batch
            if batch is None and self._overflow is not None:
                batch = self._overflow.load(parcel)
            if batch is None:
                self._lose(lane, "spill_damaged", "the disk did not give it back")
            else:
                await self._deliver(lane, batch)

    def _next(self, lane: Lane) -> Parcel:
        settings = self._settings
        return lane.next(self._intake.producer_id, settings.origin, settings.batch_bytes_max)

    async def _deliver(self, lane: Lane, batch: SealedBatch) -> None:
        self._sent_at_s[lane.partition] = asyncio.get_running_loop().time()
        try:
            await self._transport.send(lane.partition, batch)
        except RefusedError as error:
            self._lose(lane, "refused", str(error))
        else:
            self._settle(lane)
            if not self._late:
                self._outage.ended()
        finally:
            del self._sent_at_s[lane.partition]
            self._late.discard(lane.partition)

    async def _watch_answers(self) -> None:
        """Looks for answers that take too long.

        Raises:
            BrokenError: one takes so long that nobody waits for it any more.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_ANSWERS_LOOK_S)
            now_s = loop.time()
            waited_s = {lane: now_s - sent_at_s for lane, sent_at_s in self._sent_at_s.items()}
            self._late = {lane for lane, seconds in waited_s.items() if seconds > _AWAY_AFTER_S}
            if self._late:
                self._outage.began(f"no answer for {_AWAY_AFTER_S:.0f} s")
            if max(waited_s.values(), default=0.0) > _STALLED_AFTER_S:
                raise BrokenError(f"no answer for {_STALLED_AFTER_S:.0f} s")

    def _lose(self, lane: Lane, reason: DropReason, why: str) -> None:
        """Counts the batch under way as lost."""
        self._settle(lane, reason)
        self._say_once(f"a batch is lost ({reason}), its events are counted", why)

    def _settle(self, lane: Lane, lost: DropReason | None = None) -> None:
        parcel = lane.settle()
        if self._overflow is not None:
            self._overflow.forget(parcel, lost=lost is not None and lost != "spill_damaged")
        if parcel.own:
            spilled = parcel.place is not None
            self._intake.settle(parcel.count, parcel.line_bytes, lost, spilled=spilled)
        elif lost is None:
            self._intake.count_recovered(parcel.count)
        self._progress.set()

    def _say_once(self, what: str, why: str) -> None:
        """Logs what needs a person; once for each reason, however often it happens."""
        if why not in self._told:
            self._told.add(why)
            _log.error("%s: %s", what, why)


def _overflow(intake: Intake, settings: ProducerSettings) -> "Overflow | None":
    if settings.on_full != "spill":
        return None
    from backchannel.sending.overflow import Overflow  # needs locks that not every system has

    return Overflow(intake, settings)


def _where(bug: BaseException) -> str:
    """Names an error and its place, without its message: that may hold a bot's data."""
    while isinstance(bug, BaseExceptionGroup):
        bug = bug.exceptions[0]
    frames = traceback.extract_tb(bug.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(bug).__name__}{place}"
