"""What a fault did to what was sent."""

from dataclasses import dataclass

__all__ = ["HEADING", "Result"]

HEADING = f"{'fault':<44}{'events':>10}{'lost':>7}{'doubled':>9}{'wrong':>7}{'recovery':>11}"


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table."""

    fault: str
    sent: int
    """Events that Kafka has acknowledged."""
    lost: int
    doubled: int
    wrong: int
    """Windows of which any count, sum or bucket is not that of the ledger; for a sink, dead letters
    that are missing or too many."""
    recovery_s: float
    """The longest time from a fault until an event that was sent right after it, one in each
    partition, was counted or stored."""

    @property
    def is_exact(self) -> bool:
        """Nothing is lost, doubled or wrong."""
        return (self.lost, self.doubled, self.wrong) == (0, 0, 0)

    def __str__(self) -> str:
        numbers = f"{self.sent:>10,}{self.lost:>7,}{self.doubled:>9,}{self.wrong:>7,}"
        return f"{self.fault:<44}{numbers}{self.recovery_s:>9.1f} s"
