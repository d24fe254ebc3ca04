"""The page on sizing follows from its own constants: who measures anew changes one table."""

import math
import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "sizing.md").read_text("utf-8")


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def constants() -> dict[str, int]:
    return {name: number(value) for name, value in re.findall(r"\| `(\w+)` \| ([\d,]+) \|", PAGE)}


def test_the_table_of_machines_follows_from_the_constants() -> None:
    known = constants()
    share = known["headroom"] / 100
    rows = [
        [number(cell) for cell in line.strip("| ").split(" | ")]
        for line in PAGE.splitlines()
        if re.fullmatch(r"\| [\d,]+ (\| [\d,]+ )+\|", line)
    ]

    assert [row[0] for row in rows] == [10_000, 100_000, 1_000_000]
    for events, *told in rows:
        workers = math.ceil(events / (known["worker"] * share))
        kept = events * known["event_bytes"] * 86_400 * known["days"] * known["copies"]
        assert told == [
            workers,
            math.ceil(events / (known["sink"] * share)),
            max(12, workers),
            math.ceil(events * known["event_bytes"] / 1e6),
            math.ceil(kept / 1e9),
            math.ceil(events * known["row_bytes"] * 86_400 / 1e9),
        ]
