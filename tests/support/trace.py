"""A trace of chatbot traffic in the shape of the public ones: seeded, of any size.

``BACKCHANNEL_TRACE`` names a real file to use in its place.
"""

import csv
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

__all__ = ["Trace", "read_trace", "trace_file", "write_trace"]

_START = datetime(2023, 11, 16, 18, 15, 46, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Trace:
    """A file, and what it adds up to."""

    path: Path
    count: int
    input_tokens: int
    output_tokens: int
    first_us: int
    last_us: int


def trace_file(folder: Path, *, rows: int = 4_000) -> Trace:
    """Returns the trace that ``BACKCHANNEL_TRACE`` names, else a generated one of ``rows``."""
    given = os.environ.get("BACKCHANNEL_TRACE", "")
    return read_trace(Path(given)) if given else write_trace(folder / "trace.csv", rows=rows)


def write_trace(path: Path, *, rows: int, seed: int = 1, seconds: float = 3_500) -> Trace:
    """Writes a trace of ``rows`` requests over ``seconds``: seven decimals, CRLF, and no line end
    after the last row, as the public ones have."""
    rng = random.Random(seed)
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for offset_s in sorted(rng.uniform(0, seconds) for _ in range(rows)):
        at = _START + timedelta(seconds=offset_s)
        context = min(int(rng.lognormvariate(6.7, 0.9)), 14_000)
        generated = min(int(rng.lognormvariate(4.9, 0.8)), 1_000)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S.%f}0,{context},{generated}")
    path.write_text("\r\n".join(lines), newline="")
    return read_trace(path)


def read_trace(path: Path) -> Trace:
    """Adds a trace up with nothing but the standard library."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = [
        (datetime.fromisoformat(row["TIMESTAMP"]).replace(tzinfo=UTC) - _EPOCH)
        // timedelta(microseconds=1)
        for row in rows
    ]
    return Trace(
        path,
        count=len(rows),
        input_tokens=sum(int(row["ContextTokens"]) for row in rows),
        output_tokens=sum(int(row["GeneratedTokens"]) for row in rows),
        first_us=min(times),
        last_us=max(times),
    )
