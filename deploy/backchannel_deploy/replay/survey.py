"""A first look through the whole file, before anything of it is published."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from backchannel_deploy.errors import UserError
from backchannel_deploy.replay.trace import BadRow, read_rows

__all__ = ["Survey", "survey"]

_BAD_ROWS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file holds."""

    rows: int
    """Rows that can be published."""
    bad: int
    """Rows that cannot."""
    first_bad: tuple[BadRow, ...]
    first_ts_us: int
    last_ts_us: int
    backwards_us: int
    """How far a row's time lies behind that of an earlier row, at most."""
    content_seed: int
    """Follows from the file's bytes alone: the default seed."""

    @property
    def span_us(self) -> int:
        """From the earliest row to the latest."""
        return self.last_ts_us - self.first_ts_us

    def bad_rows(self) -> str:
        """Says which rows can't be published, and why."""
        shown = "; ".join(f"line {bad.line}: {bad.reason}" for bad in self.first_bad)
        more = self.bad - len(self.first_bad)
        return f"{shown}; and {more:,} more" if more else shown


def survey(path: Path) -> Survey:
    """Reads the whole file once and says what is in it.

    Raises:
        UserError: the file can't be read, is of no known kind, or has no row that can be published.
    """
    digest = blake2b(digest_size=8)
    rows = bad = backwards_us = 0
    first_bad: list[BadRow] = []
    first_ts_us = last_ts_us = -1
    for row in read_rows(path, digest.update):
        if isinstance(row, BadRow):
            bad += 1
            if bad <= _BAD_ROWS_SHOWN:
                first_bad.append(row)
            continue
        first_ts_us = min(first_ts_us, row.ts_us) if rows else row.ts_us
        last_ts_us = max(last_ts_us, row.ts_us)
        backwards_us = max(backwards_us, last_ts_us - row.ts_us)
        rows += 1
    found = Survey(
        rows,
        bad,
        tuple(first_bad),
        first_ts_us,
        last_ts_us,
        backwards_us,
        int.from_bytes(digest.digest()),
    )
    if not rows:
        detail = f" ({found.bad_rows()})" if bad else ""
        raise UserError(f"Nothing in {path} can be published{detail}.")
    return found
