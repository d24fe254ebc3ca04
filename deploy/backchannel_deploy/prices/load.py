"""Prices on their way into ClickHouse. Blocks."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from backchannel_deploy.prices.rows import Name, PriceRow

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["Loaded", "names_in_events", "replace"]

_COLUMNS = [field.name for field in fields(PriceRow)]

_NAMES = """
SELECT DISTINCT provider,
    if(event_type = 'llm_call', coalesce(nullIf(response_model, ''), request_model), model) AS name,
    service_tier
FROM events
WHERE event_type IN ('interaction', 'llm_call') AND input_tokens + output_tokens > 0 AND name != ''
"""


_KNOWN = (
    "SELECT " + ", ".join(_COLUMNS) + " FROM prices FINAL"  # noqa: S608 -- names of our own
    " WHERE source = {source:String} AND NOT removed"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load changed."""

    prices: int
    """Rows that count now."""
    changed: int
    """Of them new, or not as they were."""
    removed: int
    """Rows that counted before and do no more."""


def names_in_events(client: "Client") -> set[Name]:
    """Returns every model that events with tokens name."""
    return {Name(*map(str, row)) for row in client.query(_NAMES).result_rows}


def replace(client: "Client", source: str, rows: Iterable[PriceRow]) -> Loaded:
    """Makes ``rows`` the prices of a source, in one insert: no event is without a price between.

    Safe to repeat. Costs that events carry do not change; costs that views compute do, at once.
    """
    asked = client.query(_KNOWN, parameters={"source": source})
    known = {row.key: row for row in (PriceRow(*each) for each in asked.result_rows)}
    wanted = {row.key: row for row in rows}
    assert all(row.source == source for row in wanted.values())
    changed = [row for key, row in wanted.items() if known.get(key) != row]
    gone = [row for key, row in known.items() if key not in wanted]
    if changed or gone:
        client.insert(
            "prices",
            [
                [*astuple(row), removed]
                for each, removed in ((changed, False), (gone, True))
                for row in each
            ],
            column_names=[*_COLUMNS, "removed"],
        )
    return Loaded(len(wanted), len(changed), len(gone))
