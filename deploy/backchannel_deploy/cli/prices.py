"""`backchannel prices`: what a token costs, and which models have no price."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.cli.output import Format, ask_and_print
from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from backchannel_deploy.prices.rows import PriceRow

__all__ = ["import_prices", "list_prices", "missing_prices"]

_LIST = """
SELECT provider, model, service_tier, valid_from, valid_until, from_s, above_input_tokens,
    input_usd_per_million, output_usd_per_million, cache_read_usd_per_million,
    cache_write_usd_per_million, source, price_version
FROM v_prices
WHERE positionCaseInsensitive(model, {model:String}) > 0
    AND ({past:Bool} OR valid_until IS NULL OR valid_until >= today())
ORDER BY model, provider, service_tier, valid_from, from_s, above_input_tokens
"""

_MISSING = """
SELECT provider, model, service_tier, event_type, cost_status AS status,
    sum(sample_weight) AS events, sum((input_tokens + output_tokens) * sample_weight) AS tokens,
    min(ts) AS first_at, max(ts) AS last_at
FROM v_cost
WHERE cost_status IN ('unpriced', 'invalid_usage')
GROUP BY provider, model, service_tier, event_type, status
ORDER BY tokens DESC, model
"""


def import_prices(file: Path | None = None, /) -> None:
    """Load prices into ClickHouse: published ones, or your own from a file.

    Without a file the published prices of genai-prices, all dates and tiers, for its models and for
    every name that events have. With one, your own: they replace those loaded before, and win over
    published ones. Costs that the bots reported stay; what views compute changes at once.

    Parameters
    ----------
    file
        JSON: dollars a million tokens by model or provider/model, e.g.
        {"my-model": {"input": 0.5, "output": 1.5, "cache_read": 0.05}}; or litellm's table.
    """
    from backchannel_deploy.prices.load import replace

    source = "price_table" if file is None else "custom_table"
    own = None if file is None else _own(file)
    with connected() as client:
        loaded = replace(client, source, _published(client) if own is None else own)
    print(
        f"{counted(loaded.prices, 'price')} of {'genai-prices' if file is None else file}: "
        f"{loaded.changed:,} new or changed, {loaded.removed:,} removed."
    )


def list_prices(
    model: str = "",
    /,
    *,
    past: bool = False,
    format: Annotated[Format, Parameter(alias="-f")] = "table",  # noqa: A002 -- the option's name
) -> None:
    """Show the prices that are loaded, in US dollars a million tokens.

    Parameters
    ----------
    model
        Part of the model's name.
    past
        Also prices that hold no more.
    format
        How to print it: see `backchannel sql`.
    """
    with connected() as client:
        ask_and_print(client, _LIST, format, parameters={"model": model, "past": past})


def missing_prices(
    *,
    format: Annotated[Format, Parameter(alias="-f")] = "table",  # noqa: A002 -- the option's name
) -> None:
    """Show the models whose events have no cost, the most tokens first.

    Load a price for them with `backchannel prices import FILE`; it counts for past events too.

    Parameters
    ----------
    format
        How to print it: see `backchannel sql`.
    """
    with connected() as client:
        ask_and_print(client, _MISSING, format)


def _published(client: Any) -> "list[PriceRow]":
    from backchannel.prices import PriceBook
    from backchannel_deploy.prices.load import published

    if not PriceBook.available():
        raise UserError(
            'Published prices come with the extra [prices]: pip install "backchannel[prices]". '
            "Your own need no extra: backchannel prices import FILE."
        )
    return published(client)


def _own(file: Path) -> "list[PriceRow]":
    from backchannel.prices import own_rates
    from backchannel_deploy.prices.rows import own_rows

    try:
        prices = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}.") from error
    if not isinstance(prices, dict):
        raise UserError(f"{file}: an object of models is needed, each with its prices.")
    # litellm's table explains itself in an entry of this name.
    prices.pop("sample_spec", None)
    rates, mistakes = own_rates(prices)
    if mistakes and not rates:
        raise UserError(f"{file}: {mistakes[0]}.")
    for mistake in mistakes:
        print(f"Left out: {mistake}.")
    return list(own_rows(rates))
