"""Prices on their way into ClickHouse. Blocks."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from backchannel.prices import PriceBook
from backchannel_deploy.prices.rows import Name, PriceRow, published_rows

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["Loaded", "load_when_empty", "names_in_events", "published", "replace"]

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


def load_when_empty(client: "Client") -> Loaded | None:
    """Loads the published prices that came with the package, so that costs work from the start.

    Needs no network. ``None`` when any price is loaded already, were it one of your own, and when
    genai-prices is not installed.
    """
    if not PriceBook.available() or client.command("SELECT count() FROM prices"):
        return None
    return replace(client, "price_table", published(client))


def published(client: "Client") -> list[PriceRow]:
    """Returns the published prices, all dates and tiers, of genai-prices' models and of every name
    that events have.

    Raises:
        ModuleNotFoundError: genai-prices is not installed.
    """
    from backchannel.prices.genai_table import GenaiTable

    table = GenaiTable()
    entries = list(table.entries())
    names = {Name(each.provider, each.model) for each in entries}
    # Events that name no provider go by the model's name alone.
    names |= {Name("", each.model) for each in entries}
    return list(published_rows(table, names | names_in_events(client)))


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
