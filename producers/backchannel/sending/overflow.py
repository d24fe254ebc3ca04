"""What memory cannot hold goes to disk, and from there to Kafka in its order (on_full='spill')."""

import logging
from collections.abc import Sequence
from pathlib import Path

from backchannel.events import SealedBatch
from backchannel.sending.intake import Intake
from backchannel.sending.lane import Lane, Parcel
from backchannel.sending.spool import NoRoomError, Spool
from backchannel.settings import ProducerSettings

__all__ = ["Overflow"]

_log = logging.getLogger("backchannel")


class Overflow:
    """Writes what waits in the lanes to disk, reads it again when its turn comes, and brings in
    what earlier processes left behind.

    A disk that fails or is full loses nothing by itself: what could not be written stays in memory,
    and when that is full the intake refuses new events, and counts them. Used from the sender's
    loop alone, which it blocks for as long as the disk takes.
    """

    def __init__(self, intake: Intake, settings: ProducerSettings) -> None:
        self._intake = intake
        self._settings = settings
        self._spool = Spool(
            Path(settings.spill_directory), intake.producer_id, settings.spill_bytes_max
        )
        self._told: set[str] = set()

    def partitions(self) -> int:
        """Returns how many partitions the topic had when a broker was last there; 1 as long as none
        was."""
        return self._spool.partitions()

    def note_partitions(self, partitions: int) -> None:
        """Keeps that number for a start without a broker."""
        try:
            self._spool.note_partitions(partitions)
        except OSError as error:
            self._failed(error)

    def spill(self, lanes: Sequence[Lane], *, under_way: bool = False) -> bool:
        """Writes all that waits in these lanes to disk, and what is ``under_way`` too if nothing is
        to be sent any more. Returns whether everything could be written."""
        try:
            for lane in lanes:
                self._spill_lane(lane)
                if under_way and lane.under_way is not None:
                    lane.under_way = self._written(lane, lane.under_way)
        except OSError as error:
            self._failed(error)
            return False
        finally:
            self._note_size()
        return True

    def load(self, parcel: Parcel) -> SealedBatch | None:
        """Returns the batch of a parcel; ``None`` when the disk has it no more."""
        if parcel.batch is not None:
            return parcel.batch
        assert parcel.place is not None, "a batch is in memory or on disk"
        batch = self._spool.read(parcel.place)
        self._note_size()
        return batch

    def forget(self, parcel: Parcel, *, lost: bool) -> None:
        """Removes a parcel that is acknowledged or lost. One of this producer's is counted by its
        events, so only the loss of an earlier one is counted here."""
        if parcel.place is not None:
            self._spool.damaged += lost and not parcel.own
            self._spool.settle(parcel.place)
            self._note_size()

    def adopt(self, lanes: Sequence[Lane]) -> int:
        """Puts what earlier processes left behind in front of what waits. Returns how many batches
        there is no lane for: the topic has fewer partitions than it had."""
        try:
            places = self._spool.adopt()
        except OSError as error:
            self._failed(error)
            return 0
        homeless = 0
        for place in reversed(places):
            if place.partition < len(lanes):
                lane = lanes[place.partition]
                lane.waiting.appendleft(Parcel(place.count, 0, None, place, own=False))
                lane.filled.set()
            else:
                homeless += 1
                self._spool.damaged += 1
                self._spool.settle(place)
        if places:
            _log.warning(
                "%d events that an earlier process left in the spill directory are sent now",
                sum(place.count for place in places),
            )
        self._note_size()
        return homeless

    def close(self) -> None:
        """Leaves what is on disk to the next process."""
        self._spool.close()

    def _spill_lane(self, lane: Lane) -> None:
        for index, parcel in enumerate(lane.waiting):
            lane.waiting[index] = self._written(lane, parcel)
        settings = self._settings
        while lane.lines:
            # It has its number now, so it waits in its place whether it can be written or not.
            lane.waiting.append(
                lane.seal(self._intake.producer_id, settings.origin, settings.batch_bytes_max)
            )
            lane.filled.set()
            lane.waiting[-1] = self._written(lane, lane.waiting[-1])

    def _written(self, lane: Lane, parcel: Parcel) -> Parcel:
        if parcel.place is not None or parcel.batch is None:
            return parcel
        place = self._spool.append(lane.partition, parcel.batch)
        self._intake.spill(parcel.count, parcel.line_bytes)
        return Parcel(parcel.count, 0, None, place)

    def _note_size(self) -> None:
        self._intake.note_spill(self._spool.size, self._spool.damaged)

    def _failed(self, error: OSError) -> None:
        if isinstance(error, NoRoomError):  # its bound: new events are refused, and counted so
            return
        self._intake.count_spill_failure()
        why = f"{type(error).__name__} {error.errno or ''}".strip()
        if why not in self._told:
            self._told.add(why)
            _log.error("the spill directory cannot be used, events stay in memory: %s", why)
