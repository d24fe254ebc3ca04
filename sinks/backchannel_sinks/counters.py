"""What the sink did, in numbers. For all that is done,
``received == stored + duplicate + dead + erased``."""

from dataclasses import asdict, dataclass

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Counts since the process started. A line is one event, window, alert or dead letter."""

    received: int = 0
    """Lines of the blocks that are done."""
    stored: int = 0
    """Lines that are rows now."""
    duplicate: int = 0
    """Lines of records that were stored before."""
    dead: int = 0
    """Lines that went to ``chat.dead``."""
    erased: int = 0
    """Lines of somebody who was erased, left out."""
    blocks: int = 0
    lost_records: int = 0
    """Records missing between the numbers of their producers."""
    retries: int = 0
    """Attempts at a block that have to be made again."""
    unknown_fields: int = 0
    """Fields that this version does not know and left out."""

    def facts(self) -> dict[str, int]:
        """Returns all of them, for a log line."""
        return asdict(self)
