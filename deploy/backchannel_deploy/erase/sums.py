"""What erased events come to, so that windows and bills keep their sums. Blocks."""

from collections.abc import Iterator, Sequence
from operator import attrgetter

import msgspec
from clickhouse_connect.driver.client import Client

from backchannel.events import Tombstone
from backchannel_deploy.erase.subject import removals
from backchannel_deploy.verify.stored import counted_hours, observations
from backchannel_processors.counting import counted
from backchannel_processors.groupings import DIMENSIONS
from backchannel_processors.measures import Measures
from backchannel_processors.observations import Observation
from backchannel_processors.source_partition import BASE_S

__all__ = ["keep_sums"]

_SECOND_US = 1_000_000
_WITHOUT = {"user": ("user",), "tenant": ("tenant", "user"), "conversation": ("user",)}
"""Dimensions that would name who was erased, or who was spoken with."""
_FIELDS = {"tenant": "tenant_id", "experiment": "experiment_id"}
_COLUMNS = (
    *("erasure_id", "origin", "window_start", "dims", "count", "input_tokens", "output_tokens"),
    *("cost_picousd", "measures", "written_at_us"),
)

_Cell = tuple[int, tuple[str, ...]]


def keep_sums(client: Client, tombstone: Tombstone, clock: dict[str, int], now_us: int) -> None:
    """Writes the sums of the events that are to go, an hour at a time. Before any of them is gone:
    written again they take the place of what was written before."""
    (events,) = (each for each in removals(tombstone.subject) if each.table == "events")
    parameters = {"keys": list(tombstone.keys), "until_us": tombstone.requested_at_us}
    names = [name for name in DIMENSIONS if name not in _WITHOUT[tombstone.subject]]
    for hour in counted_hours(client, events.where, parameters, clock):
        cells: dict[_Cell, Measures] = {}
        for observed in observations(
            client, hour.origin, hour.start_s, hour.start_s + 3_600, clock, events.where, parameters
        ):
            _count(cells, observed, names)
        rows = list(_rows(cells, names, tombstone.erasure_id, hour.origin, now_us))
        if rows:
            client.insert("erased_windows", rows, column_names=_COLUMNS)


def _count(
    cells: dict[_Cell, Measures], observed: Sequence[Observation], names: Sequence[str]
) -> None:
    values = [attrgetter(_FIELDS.get(name, name)) for name in names]
    alike: dict[_Cell, list[Observation]] = {}
    for each in observed:
        if each.is_measured:
            start = each.ts_us // _SECOND_US // BASE_S * BASE_S
            dims = tuple(value(each) for value in values)
            alike.setdefault((start, dims), []).append(each)
    for cell, some in alike.items():
        measures = cells.setdefault(cell, Measures())
        measures.take(counted(some))


def _rows(
    cells: dict[_Cell, Measures],
    names: Sequence[str],
    erasure_id: str,
    origin: str,
    now_us: int,
) -> Iterator[list[object]]:
    for (start, dims), measures in cells.items():
        # Marks of users, and ids of events: they would lead back to somebody.
        measures.distinct.clear()
        measures.exemplars.clear()
        yield [
            *(erasure_id, origin, start, dict(zip(names, dims, strict=True))),
            *(measures.count, measures.input_tokens, measures.output_tokens),
            *(measures.sum("cost_picousd"), msgspec.json.encode(measures).decode(), now_us),
        ]
