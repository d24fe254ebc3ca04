"""What became of every line: the law is received = counted + late + duplicate + rejected +
not_measured, at every moment."""

from dataclasses import dataclass

__all__ = ["Counters", "MergeCounters"]


@dataclass(slots=True)
class Counters:
    """Lines of ``chat.events`` as one process saw them, unweighted, since it started.

    After a restart the records since the last checkpoint are read, and counted here, once more;
    the windows hold them once.
    """

    received: int = 0
    counted: int = 0
    """In a window."""
    late: int = 0
    """In no window: theirs was closed."""
    duplicate: int = 0
    """Seen before."""
    rejected: int = 0
    """No event: the sink puts them on ``chat.dead``."""
    not_measured: int = 0
    """Events of a type that has no measures: skipped, with reason ``not_measured``."""
    clamped: int = 0
    """Of those counted: put into the window of the broker's time, their own being impossible."""
    lost_records: int = 0
    """Records that a producer numbered and nobody saw."""
    repeated_records: int = 0
    """Records that were delivered again, and skipped: none of their lines is ``received``."""
    conversations_closed: int = 0
    """By silence."""
    conversations_late: int = 0
    """Turns that came when their conversation was closed: it has nothing of them."""
    conversations_without_room: int = 0
    """Turns of conversations that are not followed, since too many are open."""

    def balance(self) -> int:
        """Returns received less what became of it: 0, or the law is broken."""
        return self.received - (
            self.counted + self.late + self.duplicate + self.rejected + self.not_measured
        )


@dataclass(slots=True)
class MergeCounters:
    """Partials as one process saw them since it started:
    received = counted + repeated + forgotten + erased + brief_without_room."""

    received: int = 0
    counted: int = 0
    """News of a series."""
    repeated: int = 0
    """Not newer than what is known of the series."""
    forgotten: int = 0
    """Of a window that was let go of."""
    brief_without_room: int = 0
    """Told in brief when too many had come since the full one: rules see it when that comes."""
    erased: int = 0
    """Of somebody who was erased."""
    rows: int = 0
    """Told on ``chat.metrics``."""
    alerts: int = 0
    """Transitions told on ``chat.alerts``."""
    long_windows_without_room: int = 0
    """Parts of long windows that were not folded: their rows are marked incomplete."""
    history_without_room: int = 0
    """Windows whose series has no past that rules could look back on."""
    silence_without_room: int = 0
    """News of series whose silence no rule will notice."""
